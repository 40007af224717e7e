"""The rail port: commands to a payment provider, and the reading of its callbacks. One file for each provider."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple, Protocol

from shared.core.due_terms import DueTerms
from shared.ports.documents import Unavailable


class RailRefused(Exception):
    """The provider refused a command permanently; it had no effect. `code` is the provider's own code."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


class OutcomeUnknown(Unavailable):
    """A command was sent and its answer did not arrive, or was an error of the server: it may have had an effect."""


class UnreadableReport(ValueError):
    """A report of payments does not have the provider's format."""


class ReturnOrder(NamedTuple):
    """A return of a received payment, to be made by a provider. The currency is the rail's own."""

    payment_id: str
    """The provider's id of the payment."""
    reference: str
    """Our id of the return, by which a repeated order has no further effect."""
    amount: int
    """The amount in minor units."""
    reason: str | None
    """A text for the payer, or None. A rail may show only its beginning."""
    is_fraud: bool = False
    """Whether the payment is returned because it was a fraud."""


class ReturnState(NamedTuple):
    """What a provider says of a return."""

    reference: str
    """Our id of the return."""
    status: Literal["processing", "returned", "refused"]
    rail_id: str | None
    """The provider's id of the return (PIX: the RtrId), when it has one."""
    amount: int
    """The amount in minor units."""
    reason: str | None
    """Why the provider did not return the money."""


class Receipt(NamedTuple):
    """One payment that a provider reports as received."""

    id: str
    """The provider's id of the payment, unique at the provider (PIX: the end-to-end id)."""
    reference: str | None
    """Our reference of the charge that was paid; None when the payer did not give one."""
    amount: int
    """The amount in minor units of the rail's currency."""
    paid_at: str | None
    """When the payer paid (RFC 3339 in UTC, microseconds), or None when the provider's time cannot be read."""
    report: dict[str, Any]
    """The whole report, as the provider sent it."""
    returns: Sequence[ReturnState] = ()
    """The returns of the payment, or of parts of it, that the report names."""


class FraudReport(NamedTuple):
    """A report that a received payment was a fraud, or the withdrawal of such a report."""

    id: str
    """The provider's id of the report."""
    payment_id: str
    """The provider's id of the payment."""
    reference: str | None
    """Our reference of the charge that was paid."""
    amount: int
    """The amount that is asked back, in minor units."""
    status: Literal["open", "canceled"]
    details: str | None
    """What the payer's bank says."""


class Debtor(NamedTuple):
    """Who owes the amount of a charge with a due date."""

    name: str
    document_type: Literal["cpf", "cnpj"]
    document_number: str
    """The taxpayer number without punctuation."""


class DueOrder(NamedTuple):
    """What a charge with a due date has in addition to its amount."""

    terms: DueTerms
    debtor: Debtor


class ChargeOrder(NamedTuple):
    """A charge to be created at a provider. The currency is the rail's own."""

    reference: str
    """Our id of the charge."""
    amount: int
    """The amount in minor units."""
    expires_in: int
    """For how many seconds it can be paid. A charge with a due date has its own terms instead."""
    description: str | None
    """A text for the payer, or None. A rail may show only its beginning."""
    callback_url: str
    """The URL at which the provider reports the payment."""
    due: DueOrder | None = None
    """The due date and what belongs to it, or None for an immediate charge."""


class PayableCharge(NamedTuple):
    """A charge as the provider has created it."""

    code: str
    """The text that the payer's bank reads (PIX: the BR Code)."""
    location: str
    """The URL, without its scheme, of the charge's terms."""
    exchange: dict[str, Any]
    """What was sent and what was answered, without personal data."""


class StaticCodeOrder(NamedTuple):
    """A static code to be made, which may be paid any number of times. The currency is the rail's own."""

    reference: str
    """Our id of the code, of 25 letters and digits, which each report of a payment has."""
    amount: int | None
    """The amount of each payment in minor units, or None when the payer chooses it."""
    name: str
    """The name that the payer sees. A rail may shorten it."""
    callback_url: str
    """The URL at which the provider reports the payments."""


CHARGE_OVER: Final = "charge_over"
"""The code of RailRefused for a change of a charge that is paid or removed at the provider."""


class ChargeRevision(NamedTuple):
    """A change of a charge at a provider. A field that is None stays as it is."""

    reference: str
    """Our id of the charge."""
    amount: int | None
    """The new amount in minor units."""
    expires_in: int | None
    """For how many seconds after its creation it can be paid."""
    description: str | None
    """The new text for the payer."""
    due: DueTerms | None = None
    """The new terms of a charge with a due date, which also has an amount here; None for an immediate charge."""


class ChargeState(NamedTuple):
    """What a provider knows of a charge."""

    is_removed: bool
    receipts: Sequence[Receipt]
    """The payments of the charge."""


class ReceiptPage(NamedTuple):
    """One page of the payments that a provider has received in a period."""

    receipts: Sequence[Receipt]
    has_more: bool


def callback_secret_name(provider: str) -> str:
    """Return the name under which the secrets port stores the secret that a provider signs its callbacks with."""
    return f"providers/{provider}/callback-secret"


class Rail(Protocol):
    """One payment provider, through its API."""

    @property
    def title(self) -> str:
        """The rail's name in messages to people: `PIX`."""
        ...

    @property
    def currency(self) -> str:
        """The ISO 4217 code of the one currency that the rail moves."""
        ...

    @property
    def max_amount(self) -> int:
        """The greatest amount of one payment, in minor units."""
        ...

    async def request_charge(self, reference: str, amount: int, currency: str, callback_url: str) -> None:
        """Request a charge under our reference. A repeated request with the same reference has no further effect.

        Raises RailRefused, or Unavailable when the outcome is unknown.
        """
        ...

    async def create_charge(self, order: ChargeOrder) -> PayableCharge:
        """Create a charge, and return what the payer needs. A repeated order with the same reference returns the same.

        Raises RailRefused, with the code `txid` when there is another charge of this reference, or Unavailable when the
        outcome is unknown.
        """
        ...

    async def static_code(self, order: StaticCodeOrder) -> str:
        """Return the text of a static code of the receiver. Its payments are reported from now on.

        Raises RailRefused, or Unavailable when the provider does not answer.
        """
        ...

    async def revise_charge(self, revision: ChargeRevision) -> None:
        """Change a charge that can still be paid. A repeated command has no further effect.

        Raises RailRefused, with the code CHARGE_OVER when the charge is paid or removed, or Unavailable when the
        outcome is unknown.
        """
        ...

    async def remove_charge(self, reference: str, *, is_due: bool = False) -> None:
        """Withdraw a charge, which cannot be paid afterwards. A repeated command has no further effect.

        `is_due` says whether it has a due date.

        Raises RailRefused, with the code CHARGE_OVER when the charge is paid, or Unavailable when the outcome is
        unknown.
        """
        ...

    async def request_return(self, order: ReturnOrder) -> ReturnState:
        """Return a received payment, or a part of it, to its payer. A repeated order has no further effect.

        Raises RailRefused, or Unavailable when the outcome is unknown.
        """
        ...

    async def return_state(self, payment_id: str, reference: str) -> ReturnState | None:
        """Return what the provider says of a return of ours, or None when it does not know it.

        Raises RailRefused, or Unavailable when the provider does not answer.
        """
        ...

    async def answer_fraud_report(self, report_id: str, is_accepted: bool, reason: str | None) -> None:
        """Tell the provider the decision on a report of fraud. A repeated decision has no further effect.

        Raises RailRefused, or Unavailable when the outcome is unknown.
        """
        ...

    def read_fraud_reports(
        self, headers: Mapping[str, str], body: bytes, *, secret: bytes, now: datetime, window_seconds: int
    ) -> Sequence[FraudReport]:
        """Authenticate a callback with reports of fraud and read it. Raises what `read_callback` raises."""
        ...

    @property
    def is_configured(self) -> bool:
        """Whether there is a provider to send commands to."""
        ...

    async def charge_state(self, reference: str, *, is_due: bool = False) -> ChargeState | None:
        """Return what the provider knows of a charge of ours, or None when it does not know it.

        `is_due` says whether the charge has a due date.

        Raises RailRefused, or Unavailable when the provider does not answer.
        """
        ...

    async def received(self, since: datetime, until: datetime, page: int) -> ReceiptPage:
        """Return a page (from 0) of the payments that were received from `since` to `until`.

        Raises RailRefused, or Unavailable when the provider does not answer.
        """
        ...

    def read_callback(
        self, headers: Mapping[str, str], body: bytes, *, secret: bytes, now: datetime, window_seconds: int
    ) -> Sequence[Receipt]:
        """Authenticate a callback with the shared secret and read its reports. `headers` have lower-case names.

        Raises Problem `missing_signature`, `invalid_signature`, `timestamp_out_of_window`, `malformed_request` or
        `validation_failed`.
        """
        ...
