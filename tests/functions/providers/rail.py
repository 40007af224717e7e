"""A provider for tests: it records the requested charges and reports the payments that a test defines."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import orjson

from shared.adapters.pix.br_code import dynamic_code
from shared.adapters.pix.formats import format_amount
from shared.adapters.pix.rail import PixHttpRail, read_payments
from shared.adapters.providers import callback_signature as provider_signature
from shared.core.clock import format_time
from shared.ports.documents import Unavailable
from shared.ports.ledger import Cause, Direction, LedgerStore, Leg, Transfer
from shared.ports.rail import (
    ChargeOrder,
    ChargeRevision,
    ChargeState,
    PayableCharge,
    RailRefused,
    ReceiptPage,
    callback_secret_name,
)
from shared.records.system_accounts import clearing_account, system_account
from tests.harness import Answer, Harness

SECRET = b"the secret of a provider"
OTHER_END_TO_END = "E99999004202601010000bbbbbbbbbbb"
END_TO_END = "E99999004202601010000aaaaaaaaaaa"
PATH = "/v1/providers/pix/callbacks"


class RecordingRail(PixHttpRail):
    """A PIX rail that records the requested charges. `outcome` is raised when it is set."""

    def __init__(self) -> None:
        super().__init__("")
        self.requested: list[tuple[str, int, str, str]] = []
        self.orders: list[ChargeOrder] = []
        self.outcome: Unavailable | RailRefused | None = None
        self.unreported: list[dict[str, Any]] = []
        """The payments that the provider lists. With one, the rail counts as configured."""
        self.removed: set[str] = set()
        self.revisions: list[ChargeRevision] = []
        self.periods: list[tuple[datetime, datetime]] = []
        """The periods for which payments were listed."""

    async def request_charge(self, reference: str, amount: int, currency: str, callback_url: str) -> None:
        self.requested.append((reference, amount, currency, callback_url))
        if self.outcome is not None:
            raise self.outcome

    async def create_charge(self, order: ChargeOrder) -> PayableCharge:
        self.orders.append(order)
        if self.outcome is not None:
            raise self.outcome
        location = f"pix.example.test/qr/{order.reference[:22]}"
        return PayableCharge(dynamic_code(location, "Lastro", "SAO PAULO"), location, {})

    async def revise_charge(self, revision: ChargeRevision) -> None:
        self.revisions.append(revision)
        if self.outcome is not None:
            raise self.outcome

    async def remove_charge(self, reference: str) -> None:
        self.removed.add(reference)
        if self.outcome is not None:
            raise self.outcome

    @property
    def is_configured(self) -> bool:
        return bool(self.unreported or self.removed or self.outcome)

    async def charge_state(self, reference: str) -> ChargeState | None:
        if self.outcome is not None:
            raise self.outcome
        found = [one for one in self.unreported if one["txid"] == reference]
        return ChargeState(reference in self.removed, read_payments(found))

    async def received(self, since: datetime, until: datetime, page: int) -> ReceiptPage:
        """List one payment on each page."""
        if not page:
            self.periods.append((since, until))
        if self.outcome is not None:
            raise self.outcome
        first, last = format_time(since), format_time(until)
        found = [one for one in read_payments(self.unreported) if first <= (one.paid_at or "") <= last]
        return ReceiptPage(found[page : page + 1], page + 1 < len(found))


async def with_rail(harness: Harness) -> RecordingRail:
    """Give the harness a rail and the secret that its provider signs with."""
    rail = RecordingRail()
    harness.runtime.rails["pix"] = rail
    await harness.runtime.secrets.put(callback_secret_name("pix"), SECRET)
    return rail


async def deposit(harness: Harness, account_id: str, value: int = 1050) -> Any:
    """Request a deposit; the published events are not delivered."""
    body = {"account_id": account_id, "amount": {"value": value, "currency": "BRL"}, "method": "pix"}
    answer = await harness.call("POST", "/v1/deposits", body)
    assert answer.status == 201, answer.body
    return answer.json


def report(txid: str | None, value: int = 1050, end_to_end_id: str = END_TO_END, **more: Any) -> dict[str, Any]:
    """Return a provider's report of one payment."""
    report = {
        "endToEndId": end_to_end_id,
        "txid": txid,
        "valor": format_amount(value),
        "horario": "2026-01-01T00:00:00.000Z",
        **more,
    }
    return {name: value for name, value in report.items() if value is not None}


async def callback(
    harness: Harness,
    *reports: Any,
    secret: bytes = SECRET,
    path: str = PATH,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> Answer:
    """Report payments as the provider, signed now; `headers` come last."""
    raw = orjson.dumps({"pix": list(reports)}) if body is None else body
    signed = provider_signature.sign(secret, raw, harness.clock.now())
    return await harness.call("POST", path, raw, headers={**signed, **(headers or {})})


OPEN_MOVEMENTS = ["ltr_019b76daa80070009999999999900001.0", "ltr_019b76daa80070009999999999900002.0"]
"""The ids of the movements that `move_to_and_fro` makes."""


async def move_to_and_fro(ledger: LedgerStore, tenant_id: str, at: str) -> None:
    """Record an amount that went to PIX's clearing account and back: two movements that no provider reports, and that
    an operator can match."""
    clearing, suspense = clearing_account("pix", "BRL"), system_account("suspense", "BRL")
    sides: tuple[tuple[Direction, Direction], ...] = (("debit", "credit"), ("credit", "debit"))
    for movement, (direction, opposite) in zip(OPEN_MOVEMENTS, sides, strict=True):
        id = movement.partition(".")[0]
        legs = (Leg(clearing, direction, 250, "BRL"), Leg(suspense, opposite, 250, "BRL"))
        await ledger.append(Transfer(tenant_id, id, Cause("deposit", id.replace("ltr", "dep")), legs), at)
