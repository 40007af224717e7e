"""Returns (`devoluções`) as the API Pix of Banco Central do Brasil shows them."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from shared.adapters.pix.formats import checked_amount, parse_amount
from shared.ports.rail import ReturnState, UnreadableReport

RETURN_ID_PATTERN: Final = r"^[a-zA-Z0-9]{1,35}$"
_STATUSES: Final[dict[str, Literal["processing", "returned", "refused"]]] = {
    "EM_PROCESSAMENTO": "processing",
    "DEVOLVIDO": "returned",
    "NAO_REALIZADO": "refused",
}


class ReportedReturn(BaseModel):
    """One return. Fields that are not listed here are not read."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)

    id: Annotated[str, Field(pattern=RETURN_ID_PATTERN)]
    rtrId: Annotated[str, Field(max_length=64)] | None = None  # noqa: N815 - the rail's own name
    valor: Annotated[str, AfterValidator(checked_amount)]
    status: Literal["EM_PROCESSAMENTO", "DEVOLVIDO", "NAO_REALIZADO"]
    motivo: str | None = None

    def state(self) -> ReturnState:
        """Return the state in the words of the port."""
        return ReturnState(self.id, _STATUSES[self.status], self.rtrId, parse_amount(self.valor), self.motivo)


def read_return(document: Any) -> ReturnState:
    """Return the state that an answer of the API shows. Raises UnreadableReport."""
    try:
        return ReportedReturn.model_validate(document).state()
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)[0]
        raise UnreadableReport(f"{'/'.join(map(str, found['loc']))}: {found['msg']}") from None
