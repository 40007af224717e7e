"""What a partner bank reports of transfers, in its answers and in its callbacks."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from shared.adapters.bank_transfer.masking import masked
from shared.core.clock import format_time, parse_time
from shared.core.money import MAX_MINOR_UNITS
from shared.http.strict_json import parse
from shared.http.validation import body_problem
from shared.ports.rail import UnreadableReport
from shared.ports.rail_payments import RailPaymentStatus, RailReport

REFERENCE_PATTERN: Final = r"^[A-Z0-9]{20}$"
MAX_REPORTS: Final = 500
_STATUS: Final[dict[str, RailPaymentStatus]] = {
    "ACCEPTED": "processing",
    "SETTLED": "settled",
    "REJECTED": "refused",
    "RETURNED": "returned",
}


class _Money(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)

    value: int = Field(ge=1, le=MAX_MINOR_UNITS)
    currency: Literal["BRL"]


class _Transfer(BaseModel):
    """One transfer. Fields that are not listed here are also stored, with personal data masked."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)

    reference: Annotated[str, Field(pattern=REFERENCE_PATTERN)]
    status: Literal["ACCEPTED", "SETTLED", "REJECTED", "RETURNED"]
    amount: _Money
    updated_at: Annotated[str, Field(max_length=64)]
    reason: Annotated[str, Field(max_length=40)] | None = None


class _Callback(BaseModel):
    """The body of a callback, which may report several transfers."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)

    transfers: list[_Transfer] = Field(max_length=MAX_REPORTS)


_TRANSFERS: Final = TypeAdapter(list[_Transfer])


def read_callback_body(body: bytes) -> list[RailReport]:
    """Return the transfers that a callback's body reports.

    Raises Problem `malformed_request` when it is not JSON, `validation_failed` when it is not a callback of the rail.
    """
    value = parse(body)
    try:
        callback = _Callback.model_validate(value)
    except ValidationError as error:
        raise body_problem(error) from None
    return [_report(transfer) for transfer in callback.transfers]


def reports_of(values: Any) -> list[RailReport]:
    """Return the transfers of a list in an answer of the bank's API. Raises UnreadableReport."""
    try:
        transfers = _TRANSFERS.validate_python(values)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)[0]
        raise UnreadableReport(f"{'/'.join(map(str, found['loc']))}: {found['msg']}") from None
    return [_report(transfer) for transfer in transfers]


def _report(transfer: _Transfer) -> RailReport:
    return RailReport(
        reference=transfer.reference,
        status=_STATUS[transfer.status],
        amount=transfer.amount.value,
        code=transfer.reason or "",
        detail="The bank refused the transfer." if transfer.status == "REJECTED" else "",
        at=_instant(transfer.updated_at),
        report=masked(transfer.model_dump(mode="json", exclude_unset=True)),
    )


def _instant(text: str) -> str | None:
    try:
        return format_time(parse_time(text))
    except (ValueError, OverflowError):
        return None
