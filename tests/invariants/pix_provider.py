"""A PIX provider that does what a test decides, without HTTP."""

from __future__ import annotations

from typing import Final

from shared.adapters.pix.br_code import dynamic_code, static_code
from shared.adapters.pix.rail import PixHttpRail
from shared.ports.rail import (
    CHARGE_OVER,
    ChargeOrder,
    ChargeRevision,
    PayableCharge,
    RailRefused,
    ReturnOrder,
    ReturnState,
    StaticCodeOrder,
)

CALLBACK_SECRET: Final = b"the rail's and ours"


class PixProvider(PixHttpRail):
    """A PIX provider that accepts every charge; the test decides which are paid."""

    def __init__(self) -> None:
        super().__init__("")
        self.charges: dict[str, int] = {}
        self.over: dict[str, str] = {}
        """The charges that are `paid` or `removed`."""
        self.returns: dict[str, ReturnOrder] = {}
        self.refused_returns: set[str] = set()
        self.decisions: dict[str, bool] = {}
        """The decisions on reports of fraud."""

    async def request_charge(self, reference: str, amount: int, currency: str, callback_url: str) -> None:
        assert self.charges.setdefault(reference, amount) == amount

    async def create_charge(self, order: ChargeOrder) -> PayableCharge:
        assert self.charges.setdefault(order.reference, order.amount) == order.amount
        location = f"pix.example.test/qr/{order.reference[:22]}"
        return PayableCharge(dynamic_code(location, "Lastro", "SAO PAULO"), location, {})

    async def static_code(self, order: StaticCodeOrder) -> str:
        return static_code("ana@example.com", "Lastro", "SAO PAULO", amount=order.amount, txid=order.reference)

    async def revise_charge(self, revision: ChargeRevision) -> None:
        if revision.reference in self.over:
            raise RailRefused(CHARGE_OVER, "The charge is over.")
        if revision.amount is not None:
            self.charges[revision.reference] = revision.amount

    async def request_return(self, order: ReturnOrder) -> ReturnState:
        first = self.returns.setdefault(order.reference, order)
        assert first == order, "a return is requested twice with different contents"
        return ReturnState(order.reference, "processing", None, order.amount, None)

    async def return_state(self, payment_id: str, reference: str) -> ReturnState | None:
        order = self.returns.get(reference)
        if order is None:
            return None
        is_refused = reference in self.refused_returns
        return ReturnState(reference, "refused" if is_refused else "returned", f"D{reference[:31]}", order.amount, None)

    async def answer_fraud_report(self, report_id: str, is_accepted: bool, reason: str | None) -> None:
        del reason
        assert self.decisions.setdefault(report_id, is_accepted) == is_accepted, "two decisions on one report"

    async def remove_charge(self, reference: str, *, is_due: bool = False) -> None:
        if self.over.setdefault(reference, "removed") == "paid":
            raise RailRefused(CHARGE_OVER, "The charge is paid.")
