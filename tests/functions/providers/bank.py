"""A partner bank for tests: it records the orders of transfers, and reports what a test says."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import orjson

from shared.adapters.bank_transfer.rail import HttpBankTransfers
from shared.adapters.providers.callback_signature import sign
from shared.core.clock import format_time
from shared.ports.documents import Unavailable
from shared.ports.rail import OutcomeUnknown, RailRefused, callback_secret_name
from shared.ports.rail_payments import RailOrder, RailReport
from tests.cnab import content, payment
from tests.harness import Answer, Harness

SECRET = b"the secret of a bank"
PATH = "/v1/providers/bank_transfer/callbacks"
ACCOUNT: dict[str, Any] = {
    "bank": "341",
    "branch": "1234",
    "number": "1234567-8",
    "type": "checking",
    "holder": {"name": "Ana Souza", "document": {"type": "cpf", "number": "529.982.247-25"}},
}
STATUSES = {"processing": "ACCEPTED", "settled": "SETTLED", "refused": "REJECTED", "returned": "RETURNED"}


class RecordingBank(HttpBankTransfers):
    """A partner bank that records the orders. `error` is raised when it is set.

    With `loses_answers` an order arrives and its answer is lost.
    """

    def __init__(self) -> None:
        super().__init__("")
        self.orders: list[RailOrder] = []
        self.known: dict[str, RailReport] = {}
        self.asked: list[str] = []
        self.changes: list[RailReport] = []
        """What the bank lists as changed. With one, it counts as configured."""
        self.periods: list[tuple[datetime, datetime]] = []
        """The periods for which changes were listed."""
        self.error: Unavailable | RailRefused | None = None
        self.loses_answers = False

    @property
    def is_configured(self) -> bool:
        return bool(self.changes)

    async def send(self, order: RailOrder) -> RailReport:
        self.orders.append(order)
        if self.error is not None:
            raise self.error
        accepted = RailReport(order.reference, "processing", order.amount, "", "", None, {})
        found = self.known.setdefault(order.reference, accepted)
        if self.loses_answers:
            raise OutcomeUnknown("the answer is lost")
        return found

    async def changed(self, since: datetime, until: datetime, page: int) -> tuple[Sequence[RailReport], bool]:
        """List one transfer on each page."""
        if not page:
            self.periods.append((since, until))
        if isinstance(self.error, Unavailable):
            raise self.error
        found = [one for one in self.changes if format_time(since) <= (one.at or "") <= format_time(until)]
        return found[page : page + 1], page + 1 < len(found)

    async def state(self, reference: str) -> RailReport | None:
        self.asked.append(reference)
        if isinstance(self.error, Unavailable):
            raise self.error
        return self.known.get(reference)


async def with_bank(harness: Harness) -> RecordingBank:
    """Give the harness a partner bank, and the secret that it signs with."""
    bank = RecordingBank()
    harness.runtime.payment_rails["bank_transfer"] = bank
    await harness.runtime.secrets.put(callback_secret_name("bank_transfer"), SECRET)
    return bank


async def transfer(harness: Harness, payer: str, value: int = 1050, **fields: Any) -> Answer:
    """Create a payment by bank transfer; the published events are not delivered."""
    body = {
        "amount": {"value": value, "currency": "BRL"},
        "method": "bank_transfer",
        "payer_account_id": payer,
        "bank_account": ACCOUNT,
        **fields,
    }
    return await harness.call("POST", "/v1/payments", body)


async def ordered(harness: Harness, payer: str, value: int = 1050) -> Any:
    """Create a payment by bank transfer, deliver all events, and return it: the bank has the order."""
    answer = await transfer(harness, payer, value)
    assert answer.status == 201, answer.body
    await harness.run_events()
    return await harness.payment(answer.json["id"])


def report(reference: str, status: str, value: int = 1050, **more: Any) -> dict[str, Any]:
    """Return the bank's report of one transfer."""
    return {
        "id": "1",
        "reference": reference,
        "status": STATUSES[status],
        "amount": {"value": value, "currency": "BRL"},
        "creditor": {"holder_name": "Ana Souza", "number": "1234567-8"},
        "updated_at": "2026-01-01T00:00:00Z",
        **({"reason": "AC04"} if status in ("refused", "returned") else {}),
        **more,
    }


async def told(harness: Harness, *reports: dict[str, Any], secret: bytes = SECRET) -> Answer:
    """Report transfers as the bank, signed now."""
    raw = orjson.dumps({"transfers": list(reports)})
    return await harness.call("POST", PATH, raw, headers=sign(secret, raw, harness.clock.now()))


async def file(harness: Harness, *details: str, sequence: int = 7, tenant: str | None = None) -> Answer:
    """Import a settlement file with these details."""
    body = {"content": content(*details, sequence=sequence)}
    return await harness.call("POST", "/v1/settlement-files", body, tenant=tenant)


def line(reference: str, outcome: str, value: int = 1050, number: int = 1, moved: int | None = None) -> str:
    """Return the detail of a settlement file for an outcome."""
    changes = {
        "settled": {},
        "returned": {"c15": "3"},
        "refused": {"c231": "AG", "c155": "0" * 8, "c163": "0" * 15},
        "accepted": {"c231": "BD", "c155": "0" * 8, "c163": "0" * 15},
    }[outcome]
    if moved is not None:
        changes = {**changes, "c163": f"{moved:015d}"}
    return payment(number, reference, value, **changes)
