"""The body of PIX callbacks, as the API Pix of Banco Central do Brasil posts it to a webhook."""

from __future__ import annotations

from typing import Annotated, Final, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from shared.adapters.pix.formats import END_TO_END_PATTERN, checked_amount, parse_amount
from shared.adapters.pix.masking import masked
from shared.adapters.pix.returns import ReportedReturn
from shared.core.clock import format_time, parse_time
from shared.http.strict_json import parse
from shared.http.validation import body_problem
from shared.ports.rail import Receipt, UnreadableReport

M = TypeVar("M", bound=BaseModel)


CheckedAmount = Annotated[str, AfterValidator(checked_amount)]
"""The rail's text of an amount."""


def _as_list(value: object) -> object:
    """Return a list. The specification's own example of a callback has one return as an object."""
    return [value] if isinstance(value, dict) else value


class _ReceivedPix(BaseModel):
    """One received payment. Fields that are not listed here are also stored, with personal data masked."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)

    endToEndId: Annotated[str, Field(pattern=END_TO_END_PATTERN)]  # noqa: N815 - the rail's own name
    txid: Annotated[str, Field(max_length=35)] | None = None
    valor: CheckedAmount
    horario: Annotated[str, Field(max_length=64)]
    devolucoes: Annotated[list[ReportedReturn], BeforeValidator(_as_list), Field(max_length=100)] = []


class _PixCallback(BaseModel):
    """The body of a callback, which may report several payments."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)

    pix: list[_ReceivedPix] = Field(max_length=500)


_REPORTS: Final = TypeAdapter(list[_ReceivedPix])


def read_receipts(body: bytes) -> list[Receipt]:
    """Return the payments that a callback's body reports.

    Raises Problem `malformed_request` when it is not JSON, `validation_failed` when it is not a callback of the rail.
    """
    return [_receipt(report) for report in read_body(body, _PixCallback).pix]


def read_body(body: bytes, model: type[M]) -> M:
    """Return the body of a callback. Raises Problem `malformed_request` or `validation_failed`."""
    value = parse(body)
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise body_problem(error) from None


def receipts_of(values: object) -> list[Receipt]:
    """Return the payments of a list in an answer of the rail's API. Raises UnreadableReport."""
    try:
        reports = _REPORTS.validate_python(values)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)[0]
        raise UnreadableReport(f"{'/'.join(map(str, found['loc']))}: {found['msg']}") from None
    return [_receipt(report) for report in reports]


def _receipt(report: _ReceivedPix) -> Receipt:
    amount = parse_amount(report.valor)
    document = masked(report.model_dump(mode="json", exclude={"devolucoes"}))
    returns = [one.state() for one in report.devolucoes]
    return Receipt(report.endToEndId, report.txid, amount, instant(report.horario), document, returns)


def instant(text: str) -> str | None:
    """Return a time of the rail in the form in which all times are stored, or None when it cannot be read."""
    try:
        return format_time(parse_time(text))
    except (ValueError, OverflowError):
        return None
