"""Facts about charges that rails report."""

from typing import ClassVar

from events import topics
from shared.core.envelope import Event
from shared.core.money import Money
from shared.records.charges import ReceiptMismatch


class ChargeEvent(Event):
    """The fields of the facts about a PIX charge. `charge_id` is its txid."""

    topic: ClassVar[str] = topics.PROVIDERS
    subject_field: ClassVar[str] = "charge_id"

    charge_id: str
    account_id: str
    amount: Money
    expires_at: str


class ChargeCreated(ChargeEvent):
    """A PIX charge was created; its BR Code can be paid until `expires_at`."""

    type: ClassVar[str] = "lastro.pix.charge_created.v1"
    terminal: ClassVar[bool] = True


class ChargeExpired(ChargeEvent):
    """A PIX charge has expired; it was not paid."""

    type: ClassVar[str] = "lastro.pix.charge_expired.v1"
    terminal: ClassVar[bool] = True


class ChargeRevised(ChargeEvent):
    """A PIX charge was changed at the provider. `revision` is the number of changes since its creation."""

    type: ClassVar[str] = "lastro.pix.charge_revised.v1"
    terminal: ClassVar[bool] = True

    revision: int


class ChargeRemoved(ChargeEvent):
    """A PIX charge was withdrawn at the provider; it cannot be paid any more."""

    type: ClassVar[str] = "lastro.pix.charge_removed.v1"
    terminal: ClassVar[bool] = True


class PaymentReceived(Event):
    """The fields of the facts about a payment that a rail reports: the ledger is to record its transfer."""

    topic: ClassVar[str] = topics.PROVIDERS
    subject_field: ClassVar[str] = "charge_id"

    charge_id: str
    deposit_id: str
    account_id: str
    amount: Money
    end_to_end_id: str
    transfer_id: str
    clearing_account_id: str


class ChargePaid(PaymentReceived):
    """The PIX rail reports that a charge was paid. The ledger is to record a transfer from the rail's clearing
    account."""

    type: ClassVar[str] = "lastro.pix.charge_paid.v1"


class PaymentUnmatched(PaymentReceived):
    """The PIX rail reports a payment that does not fit its charge: `reason` says why.

    The ledger is to record a transfer from the rail's clearing account to the suspense account, where an operator finds
    the money.

    `deposit_id` is the deposit into the suspense account; `amount` is what was paid.
    """

    type: ClassVar[str] = "lastro.pix.payment_unmatched.v1"

    reason: ReceiptMismatch
