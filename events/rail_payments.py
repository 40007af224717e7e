"""Facts about payments at a provider. Each rail has its own types: a new rail adds one to each of the three tuples."""

from __future__ import annotations

from typing import ClassVar, Final

from events import topics
from events.failure import Failure
from shared.core.envelope import Event
from shared.core.money import Money


class RailPaymentEvent(Event):
    """The fields of every fact about a payment at a provider.

    `end_to_end_id` is its id at the provider, `amount` what was ordered.
    """

    topic: ClassVar[str] = topics.PROVIDERS
    subject_field: ClassVar[str] = "payment_id"

    payment_id: str
    end_to_end_id: str
    amount: Money


class RailPaymentSent(RailPaymentEvent):
    """The provider has the command to make the payment."""


class RailPaymentConfirmed(RailPaymentEvent):
    """The provider has made the payment. `amount_moved` is what it has moved."""

    amount_moved: Money


class RailPaymentRefused(RailPaymentEvent):
    """The provider has not made the payment and will not."""

    failure: Failure


class RailPaymentReturned(RailPaymentEvent):
    """The receiver's provider has sent the money of a payment back. `amount_returned` is what came back, `reason` the
    provider's code.

    `return_id` is the provider's id of the return where a payment comes back in parts, and null where it comes back as
    a whole."""

    amount_returned: Money
    reason: str
    return_id: str | None = None


class PixPaymentSent(RailPaymentSent):
    """The PIX provider has the command to make a payment."""

    type: ClassVar[str] = "lastro.pix.payment_sent.v1"


class PixPaymentConfirmed(RailPaymentConfirmed):
    """The PIX provider has made a payment. `amount_moved` is what it has moved."""

    type: ClassVar[str] = "lastro.pix.payment_confirmed.v1"


class PixPaymentRefused(RailPaymentRefused):
    """The PIX provider has not made a payment and will not."""

    type: ClassVar[str] = "lastro.pix.payment_refused.v1"


class PixPaymentReturned(RailPaymentReturned):
    """The receiver of a payment by PIX has sent it back, or a part of it. `amount_returned` is what came back,
    `return_id` its RtrId and `reason` the code of the SPI."""

    type: ClassVar[str] = "lastro.pix.payment_returned.v1"


class CardPaymentSent(RailPaymentSent):
    """The card gateway has the command to capture a payment."""

    type: ClassVar[str] = "lastro.card.payment_sent.v1"


class CardPaymentConfirmed(RailPaymentConfirmed):
    """The card gateway has captured a payment. `amount_moved` is what it has captured."""

    type: ClassVar[str] = "lastro.card.payment_confirmed.v1"


class CardPaymentRefused(RailPaymentRefused):
    """The card gateway has not captured a payment and will not."""

    type: ClassVar[str] = "lastro.card.payment_refused.v1"


class BankTransferSent(RailPaymentSent):
    """The partner bank has the order of a transfer."""

    type: ClassVar[str] = "lastro.bank.transfer_sent.v1"


class BankTransferConfirmed(RailPaymentConfirmed):
    """The receiving bank has the money of a transfer. `amount_moved` is what was moved."""

    type: ClassVar[str] = "lastro.bank.transfer_confirmed.v1"


class BankTransferRefused(RailPaymentRefused):
    """A transfer was not made and will not be."""

    type: ClassVar[str] = "lastro.bank.transfer_refused.v1"


class BankTransferReturned(RailPaymentReturned):
    """The receiving bank has sent the money of a transfer back. `amount_returned` is what came back, `reason` the
    bank's code."""

    type: ClassVar[str] = "lastro.bank.transfer_returned.v1"


SENT: Final = (PixPaymentSent, BankTransferSent, CardPaymentSent)
"""For each rail the fact that its provider has a payment."""
CONFIRMED: Final = (PixPaymentConfirmed, BankTransferConfirmed, CardPaymentConfirmed)
"""For each rail the fact that its provider has made a payment."""
REFUSED: Final = (PixPaymentRefused, BankTransferRefused, CardPaymentRefused)
"""For each rail the fact that its provider has refused a payment."""
RETURNED: Final = (PixPaymentReturned, BankTransferReturned)
"""For each rail whose payments may come back the fact that one did."""
