"""The JSON objects of the card gateway (docs/cards.md), and the masking of them."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from shared.adapters.card.formats import MAX_AMOUNT
from shared.adapters.providers.masking import PersonalNames, masked
from shared.core.card_numbers import without_card_numbers
from shared.core.clock import format_time, parse_time
from shared.ports.card_gateway import AuthorizationStatus, CardMovement, CardPayment, MovementStatus, SettlementLine
from shared.ports.rail import UnreadableReport

_NAMES: Final = PersonalNames(
    texts=frozenset({"email", "phone", "document", "token", "number", "security_code", "ip_address"}),
    persons=frozenset({"cardholder", "customer", "billing_address"}),
)
_MAX_CODE: Final = 64


def _instant(text: str) -> str:
    try:
        return format_time(parse_time(text))
    except OverflowError:
        raise ValueError("the time in UTC must lie between the years 1 and 9999") from None


_Time = Annotated[str, Field(max_length=64), AfterValidator(_instant)]
_Id = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_.:-]+$")]
_Code = Annotated[str, Field(min_length=1, max_length=_MAX_CODE, pattern=r"^[a-z0-9_]+$")]
_Minor = Annotated[int, Field(ge=0, le=MAX_AMOUNT)]


class _Report(BaseModel):
    """An object of the gateway. Members that are not listed are also stored, masked."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)


class MovementReport(_Report):
    """A capture or a refund of a payment."""

    reference: _Id
    amount: _Minor
    status: MovementStatus
    code: _Code | None = None

    def movement(self) -> CardMovement:
        """Return the movement."""
        return CardMovement(self.reference, self.amount, self.status, self.code)


class PaymentReport(_Report):
    """A payment."""

    id: _Id
    reference: _Id
    status: AuthorizationStatus
    amount: _Minor
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    decline_code: _Code | None = None
    authorized_until: _Time | None = None
    capture: MovementReport | None = None
    refunds: Annotated[list[MovementReport], Field(max_length=1_000)] = []

    def payment(self) -> CardPayment:
        """Return the payment, with its report masked."""
        return CardPayment(
            self.id,
            self.reference,
            self.status,
            self.amount,
            self.currency,
            self.decline_code,
            self.authorized_until,
            None if self.capture is None else self.capture.movement(),
            [refund.movement() for refund in self.refunds],
            masked_report(self.model_dump(mode="json")),
        )


class EventReport(_Report):
    """The body of a callback."""

    id: _Id
    type: Annotated[str, Field(max_length=64, pattern=r"^[a-z_.]+$")]
    payment: PaymentReport


class LineReport(_Report):
    """A line of the settlement report."""

    id: _Id
    type: Literal["capture", "refund"]
    payment_reference: _Id
    reference: _Id
    amount: Annotated[int, Field(ge=-MAX_AMOUNT, le=MAX_AMOUNT)]
    settled_at: _Time

    def line(self) -> SettlementLine:
        """Return the line, with its report masked."""
        report = masked_report(self.model_dump(mode="json"))
        return SettlementLine(self.id, self.payment_reference, self.reference, self.amount, self.settled_at, report)


class SettlementReport(_Report):
    """A page of the settlement report."""

    data: Annotated[list[LineReport], Field(max_length=1_000)]
    has_more: bool


def read_payment(value: Any) -> CardPayment:
    """Return a payment of an answer. Raises UnreadableReport."""
    try:
        return PaymentReport.model_validate(value).payment()
    except ValidationError as error:
        raise _unreadable(error) from None


def read_settlements(value: Any) -> SettlementReport:
    """Return a page of the settlement report. Raises UnreadableReport."""
    try:
        return SettlementReport.model_validate(value)
    except ValidationError as error:
        raise _unreadable(error) from None


def masked_report(value: Any) -> Any:
    """Return a JSON value with personal data and card numbers masked."""
    return _without_numbers(masked(value, _NAMES))


def _without_numbers(value: Any) -> Any:
    if isinstance(value, str):
        return without_card_numbers(value)
    if isinstance(value, list):
        return [_without_numbers(item) for item in value]
    if isinstance(value, dict):
        return {without_card_numbers(name): _without_numbers(member) for name, member in value.items()}
    if isinstance(value, int | float) and not isinstance(value, bool):
        shown = without_card_numbers(str(value))
        return value if shown == str(value) else shown
    return value


def _unreadable(error: ValidationError) -> UnreadableReport:
    found = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = without_card_numbers("/".join(map(str, found["loc"])))
    return UnreadableReport(f"{where}: {found['msg']}")
