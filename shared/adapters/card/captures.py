"""The captures of card payments as payments over a rail (shared.ports.rail_payments.PaymentRail).

A payment that the issuer has authorized is captured once, under our id of the payment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final

from shared.adapters.card.formats import CURRENCY, MAX_AMOUNT
from shared.ports.card_gateway import capture_report
from shared.ports.rail import RailRefused
from shared.ports.rail_payments import InvalidReceiver, RailOrder, RailReport

if TYPE_CHECKING:
    from shared.ports.card_gateway import CardGateway

_SHOWN: Final = 4


class CardCaptures:
    """The captures at one card gateway."""

    title = "Card"
    currency = CURRENCY
    max_amount = MAX_AMOUNT

    def __init__(self, gateway: CardGateway) -> None:
        self._gateway = gateway

    def shown_receiver(self, receiver: Mapping[str, str], amount: int) -> dict[str, str]:  # noqa: ARG002 - the port's
        token = receiver["token"]
        if token.isdigit():
            raise InvalidReceiver("token", "A token of the gateway is not a number")
        return {"token": f"***{token[-_SHOWN:]}"}

    def reference(self, tenant_id: str, payment_id: str, at: datetime) -> str:  # noqa: ARG002 - the port's
        return payment_id

    async def send(self, order: RailOrder) -> RailReport:
        found = await self._gateway.payment(order.reference)
        if found is None:
            raise RailRefused("payment_not_found", "The card gateway does not know the payment.")
        captured = await self._gateway.capture(found.id, order.reference, order.amount)
        report = capture_report(captured)
        if report is None:
            raise RailRefused("not_captured", "The card gateway shows no capture of the payment.")
        return report

    async def state(self, reference: str) -> RailReport | None:
        found = await self._gateway.payment(reference)
        return None if found is None else capture_report(found)

    def read_reports(
        self, headers: Mapping[str, str], body: bytes, *, secret: bytes, now: datetime, window_seconds: int
    ) -> Sequence[RailReport] | None:
        event = self._gateway.read_callback(headers, body, secret=secret, now=now, window_seconds=window_seconds)
        report = capture_report(event.payment)
        return [] if report is None else [report]
