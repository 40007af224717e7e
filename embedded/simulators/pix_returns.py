"""The returns (`devoluções`) of a simulated PIX provider.

A return is answered with `EM_PROCESSAMENTO` and made at once; its outcome is reported as the API Pix prescribes, with
the payment to which it belongs.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from embedded.simulators.pix_model import MAX_CHARGES, MAX_FAULTS, Fault, FaultOrder, SimulatedPayment
from shared.adapters.pix import formats as pix
from shared.adapters.pix.returns import RETURN_ID_PATTERN
from shared.core.clock import Clock, format_time, parse_time

RETURN_DAYS: Final = 90
ReturnedStatus = Literal["EM_PROCESSAMENTO", "DEVOLVIDO", "NAO_REALIZADO"]


class RefusedReturn(Exception):
    """A return that the provider does not take; the text says why, `status` is the status of the answer."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


class ReturnRequest(BaseModel):
    """The body of `PUT /pix/{e2eid}/devolucao/{id}`."""

    model_config = ConfigDict(extra="ignore")

    valor: Annotated[str, AfterValidator(pix.checked_amount)]
    natureza: Literal["ORIGINAL", "RETIRADA", "MED_OPERACIONAL", "MED_FRAUDE"] = "ORIGINAL"
    descricao: Annotated[str, Field(max_length=140)] | None = None


@dataclass(slots=True)
class SimulatedReturn:
    """A return, and the state of the report of its outcome."""

    key: str
    """The end-to-end id of the payment, a slash, and the client's id of the return."""
    rtr_id: str
    original: str
    nature: str
    requested: str
    outcome: ReturnedStatus
    settled: str | None = None
    fault: Fault | None = None
    seconds: float = 0.0
    told: bool = False

    @property
    def name(self) -> str:
        """What the reports are logged by."""
        return self.key

    @property
    def end_to_end_id(self) -> str:
        """The end-to-end id of the payment."""
        return self.key.partition("/")[0]

    def shown(self, status: ReturnedStatus | None = None) -> dict[str, Any]:
        """Return the return as the API and the callback show it; `status` replaces its own."""
        present = status or self.outcome
        times = {"solicitacao": self.requested}
        if self.settled is not None and present == "DEVOLVIDO":
            times["liquidacao"] = self.settled
        document = {
            "id": self.key.partition("/")[2],
            "rtrId": self.rtr_id,
            "valor": self.original,
            "natureza": self.nature,
            "horario": times,
            "status": present,
        }
        if present == "NAO_REALIZADO":
            document["motivo"] = "The payer's bank refused the return."
        return document


@dataclass
class Returns:
    """All returns of a provider. `made` makes letters and digits."""

    clock: Clock
    made: Callable[[int], str]
    ispb: str
    all: dict[str, SimulatedReturn] = field(default_factory=dict)
    faults: deque[FaultOrder] = field(default_factory=lambda: deque(maxlen=MAX_FAULTS))

    def of(self, end_to_end_id: str) -> list[SimulatedReturn]:
        """Return the returns of a payment."""
        return [one for one in self.all.values() if one.end_to_end_id == end_to_end_id]

    def add(self, one: SimulatedReturn) -> None:
        """Add a return, and forget the oldest one when there are too many."""
        self.all[one.key] = one
        if len(self.all) > MAX_CHARGES:
            del self.all[next(iter(self.all))]

    def request(self, payment: SimulatedPayment, id: str, wanted: ReturnRequest) -> tuple[SimulatedReturn, bool]:
        """Return the return of this id, and whether it is new. Raises RefusedReturn."""
        if re.fullmatch(RETURN_ID_PATTERN, id) is None:
            raise RefusedReturn(400, "The id of a return has 1 to 35 letters and digits.")
        known = self.all.get(f"{payment.end_to_end_id}/{id}")
        if known is not None:
            if known.original != wanted.valor:
                raise RefusedReturn(409, "There is another return of this id.")
            return known, False
        now = self.clock.now()
        if now > parse_time(payment.paid_at) + timedelta(days=RETURN_DAYS):
            raise RefusedReturn(400, f"A payment can be returned for {RETURN_DAYS} days.")
        gone = sum(
            pix.parse_amount(one.original) for one in self.of(payment.end_to_end_id) if one.outcome != "NAO_REALIZADO"
        )
        if gone + pix.parse_amount(wanted.valor) > pix.parse_amount(payment.original):
            raise RefusedReturn(400, "The returns would exceed the payment.")
        order = self.faults.popleft() if self.faults else None
        refused = order is not None and order.fault == "refused"
        one = SimulatedReturn(
            key=f"{payment.end_to_end_id}/{id}",
            rtr_id=f"D{self.ispb}{now:%Y%m%d%H%M}{self.made(11)}",
            original=wanted.valor,
            nature=wanted.natureza,
            requested=format_time(now),
            outcome="NAO_REALIZADO" if refused else "DEVOLVIDO",
            settled=None if refused else format_time(now),
            fault=None if order is None else order.report_fault,
            seconds=0 if order is None else order.seconds,
        )
        self.add(one)
        return one, True
