"""The reports of payments out: in answers of a PIX provider, and in its callbacks."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.adapters.pix.callbacks import CheckedAmount, instant, read_body
from shared.adapters.pix.formats import END_TO_END_PATTERN, parse_amount
from shared.adapters.pix.masking import masked
from shared.ports.rail import UnreadableReport
from shared.ports.rail_payments import RailPaymentStatus, RailReport

_STATUSES: Final[dict[str, RailPaymentStatus]] = {
    "EM_PROCESSAMENTO": "processing",
    "REALIZADO": "settled",
    "NAO_REALIZADO": "refused",
}


class _SentPix(BaseModel):
    """One payment out. Fields that are not listed here are also stored, with personal data masked."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)

    endToEndId: Annotated[str, Field(pattern=END_TO_END_PATTERN)]  # noqa: N815 - the rail's own name
    valor: CheckedAmount
    status: Literal["EM_PROCESSAMENTO", "REALIZADO", "NAO_REALIZADO"]
    horario: Annotated[str, Field(max_length=64)] | None = None
    codigo: Annotated[str, Field(max_length=64)] | None = None
    motivo: Annotated[str, Field(max_length=500)] | None = None


class _Callback(BaseModel):
    """The body of a callback, which may report several payments."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)

    pixEnviados: list[_SentPix] = Field(max_length=500)  # noqa: N815 - as above


def read_callback(body: bytes) -> list[RailReport]:
    """Return the reports in the body of a callback.

    Raises Problem `malformed_request` when it is not JSON, `validation_failed` when it is not a callback of the rail.
    """
    return [_report(sent) for sent in read_body(body, _Callback).pixEnviados]


def report_of(answer: bytes) -> RailReport:
    """Return the report that an answer of the provider's API is. Raises UnreadableReport."""
    try:
        return _report(_SentPix.model_validate_json(answer))
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)[0]
        raise UnreadableReport(f"{'/'.join(map(str, found['loc']))}: {found['msg']}") from None


def _report(sent: _SentPix) -> RailReport:
    return RailReport(
        reference=sent.endToEndId,
        status=_STATUSES[sent.status],
        amount=parse_amount(sent.valor),
        code=sent.codigo or "",
        detail=sent.motivo or "",
        at=None if sent.horario is None else instant(sent.horario),
        report=masked(sent.model_dump(mode="json", exclude_none=True)),
    )
