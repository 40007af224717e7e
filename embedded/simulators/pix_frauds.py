"""The reports of fraud of a simulated PIX provider, in the words of DICT's API (InfractionReport)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from embedded.simulators.pix_model import Fault
from shared.adapters.pix import formats as pix

FraudStatus = Literal["OPEN", "CANCELLED", "CLOSED"]
AnalysisResult = Literal["AGREED", "DISAGREED"]


class FraudOrder(BaseModel):
    """A report of fraud about a payment that the provider has received; without `amount`, about all of it.

    With the `id` of a report, that report is withdrawn.
    """

    model_config = ConfigDict(extra="forbid")

    endToEndId: Annotated[str, Field(pattern=pix.END_TO_END_PATTERN)] | None = None  # noqa: N815 - the rail's own name
    valor: Annotated[str, AfterValidator(pix.checked_amount)] | None = None
    reportDetails: Annotated[str, Field(max_length=2000)] | None = None  # noqa: N815 - as above
    id: str | None = None
    fault: Literal["twice"] | None = None


class Closing(BaseModel):
    """The body of `POST /infraction-reports/{id}/close`."""

    model_config = ConfigDict(extra="ignore")

    analysisResult: AnalysisResult  # noqa: N815 - the rail's own name
    analysisDetails: Annotated[str, Field(max_length=2000)] = ""  # noqa: N815 - as above


@dataclass(slots=True)
class SimulatedFraud:
    """A report, and the state of its callback."""

    id: str
    end_to_end_id: str
    txid: str | None
    original: str
    details: str | None
    status: FraudStatus = "OPEN"
    result: AnalysisResult | None = None
    result_details: str = ""
    fault: Fault | None = None
    seconds: float = 0.0
    told: bool = False

    @property
    def name(self) -> str:
        """What the callbacks are logged by."""
        return self.id

    def shown(self) -> dict[str, Any]:
        """Return the report as the callback and the API show it."""
        document = {
            "id": self.id,
            "endToEndId": self.end_to_end_id,
            "txid": self.txid,
            "valor": self.original,
            "status": self.status,
            "reportDetails": self.details,
            "analysisResult": self.result,
            "analysisDetails": self.result_details or None,
        }
        return {name: value for name, value in document.items() if value is not None}
