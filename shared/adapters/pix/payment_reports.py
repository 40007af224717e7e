"""The reports of payments out: in answers of a PIX provider, and in its callbacks."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from shared.adapters.pix.callbacks import CheckedAmount, instant, read_body
from shared.adapters.pix.formats import END_TO_END_PATTERN, RETURN_PATTERN, parse_amount
from shared.adapters.pix.masking import masked
from shared.ports.rail import UnreadableReport
from shared.ports.rail_payments import RailPaymentStatus, RailReport, RailReturn

_STATUSES: Final[dict[str, RailPaymentStatus]] = {
    "EM_PROCESSAMENTO": "processing",
    "REALIZADO": "settled",
    "NAO_REALIZADO": "refused",
}

RETURN_CODES: Final = {
    "ORIGINAL": "MD06",
    "RETIRADA": "SL02",
    "MED_OPERACIONAL": "BE08",
    "MED_FRAUDE": "FR01",
}
"""The code of the reason in pacs.004, by the nature of a return (Banco Central, API Pix and SPI)."""


class _Return(BaseModel):
    """One return of a payment out. Only one that was made counts: its money is here."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)

    rtrId: Annotated[str, Field(pattern=RETURN_PATTERN)]  # noqa: N815 - the rail's own name
    valor: CheckedAmount
    status: Literal["EM_PROCESSAMENTO", "DEVOLVIDO", "NAO_REALIZADO"]
    natureza: Literal["ORIGINAL", "RETIRADA", "MED_OPERACIONAL", "MED_FRAUDE"] = "ORIGINAL"


class _SentPix(BaseModel):
    """One payment out. Fields that are not listed here are also stored, with personal data masked."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)

    endToEndId: Annotated[str, Field(pattern=END_TO_END_PATTERN)]  # noqa: N815 - the rail's own name
    valor: CheckedAmount
    status: Literal["EM_PROCESSAMENTO", "REALIZADO", "NAO_REALIZADO"]
    horario: Annotated[str, Field(max_length=64)] | None = None
    codigo: Annotated[str, Field(max_length=64)] | None = None
    motivo: Annotated[str, Field(max_length=500)] | None = None
    devolucoes: Annotated[list[_Return], Field(max_length=100)] = []


class _Callback(BaseModel):
    """The body of a callback, which may report several payments."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)

    pixEnviados: list[_SentPix] = Field(max_length=500)  # noqa: N815 - as above


def read_callback(body: bytes) -> list[RailReport]:
    """Return the reports in the body of a callback.

    Raises Problem `malformed_request` when it is not JSON, `validation_failed` when it is not a callback of the rail.
    """
    return [_report(sent) for sent in read_body(body, _Callback).pixEnviados]


_REPORTS: Final = TypeAdapter(list[_SentPix])


def reports_of(values: Any) -> list[RailReport]:
    """Return the reports in a list of the provider's API. Raises UnreadableReport."""
    try:
        return [_report(sent) for sent in _REPORTS.validate_python(values)]
    except ValidationError as error:
        raise _unreadable(error) from None


def report_of(answer: bytes) -> RailReport:
    """Return the report that an answer of the provider's API is. Raises UnreadableReport."""
    try:
        return _report(_SentPix.model_validate_json(answer))
    except ValidationError as error:
        raise _unreadable(error) from None


def _unreadable(error: ValidationError) -> UnreadableReport:
    found = error.errors(include_url=False, include_input=False)[0]
    return UnreadableReport(f"{'/'.join(map(str, found['loc']))}: {found['msg']}")


def _report(sent: _SentPix) -> RailReport:
    return RailReport(
        reference=sent.endToEndId,
        status=_STATUSES[sent.status],
        amount=parse_amount(sent.valor),
        code=sent.codigo or "",
        detail=sent.motivo or "",
        at=None if sent.horario is None else instant(sent.horario),
        report=masked(sent.model_dump(mode="json", exclude_none=True, exclude={"devolucoes"})),
        returns=[_return(one) for one in sent.devolucoes if one.status == "DEVOLVIDO"],
    )


def _return(one: _Return) -> RailReturn:
    document = masked(one.model_dump(mode="json", exclude_none=True))
    return RailReturn(one.rtrId, parse_amount(one.valor), RETURN_CODES[one.natureza], document)
