"""Reports of fraud about received payments, in the words of DICT's API (InfractionReport)."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from shared.adapters.pix.callbacks import read_body
from shared.adapters.pix.formats import END_TO_END_PATTERN, checked_amount, parse_amount
from shared.ports.rail import FraudReport

REPORT_ID_PATTERN: Final = r"^[a-zA-Z0-9-]{1,64}$"
_STATUSES: Final[dict[str, Literal["open", "canceled"]]] = {"OPEN": "open", "CANCELLED": "canceled"}


class _InfractionReport(BaseModel):
    """One report. Fields that are not listed here are not read."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)

    id: Annotated[str, Field(pattern=REPORT_ID_PATTERN)]
    endToEndId: Annotated[str, Field(pattern=END_TO_END_PATTERN)]  # noqa: N815 - the rail's own name
    txid: Annotated[str, Field(max_length=35)] | None = None
    valor: Annotated[str, AfterValidator(checked_amount)]
    status: Literal["OPEN", "CANCELLED"]
    reportDetails: Annotated[str, Field(max_length=2000)] | None = None  # noqa: N815 - as above


class _Reports(BaseModel):
    """The body of a callback, which may have several reports."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)

    infractionReports: list[_InfractionReport] = Field(max_length=100)  # noqa: N815 - as above


def read_reports(body: bytes) -> list[FraudReport]:
    """Return the reports of a callback's body.

    Raises Problem `malformed_request` when it is not JSON, `validation_failed` when it is not a callback of the rail.
    """
    callback = read_body(body, _Reports)
    return [
        FraudReport(one.id, one.endToEndId, one.txid, parse_amount(one.valor), _STATUSES[one.status], one.reportDetails)
        for one in callback.infractionReports
    ]
