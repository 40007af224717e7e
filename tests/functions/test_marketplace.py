"""A month of a marketplace on a moved clock: users, money in and out, faults, and books that agree at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest

from events.ledger import AuditCompleted, DaySealed
from events.sweeps import Tick
from shared.context.ledger_seals import verify_seals
from shared.context.ledger_verification import verify_ledger
from shared.ports.documents import PLATFORM, Query, Unavailable
from shared.records.accounts import HOLDS
from tests.functions.providers.rail import (
    RecordingPayments,
    RecordingRail,
    callback,
    deposit,
    pay_out,
    payment_callback,
    report,
    with_payments,
    with_rail,
)
from tests.harness import Answer, Harness

USERS: Final = 200
MERCHANTS: Final = 20
DAYS: Final = 30
OUTAGE_DAY: Final = 9
SUSPENDED_DAY: Final = 16


def cpf(number: int) -> str:
    """Return the CPF with these first nine digits, and its two check digits."""
    digits = [int(digit) for digit in f"{number:09d}"]
    for _ in range(2):
        weighted = sum(digit * weight for digit, weight in zip(digits, range(len(digits) + 1, 1, -1), strict=True))
        digits.append((weighted * 10) % 11 % 10)
    return "".join(map(str, digits))


@dataclass
class Month:
    """The marketplace: its accounts, and what the story expects each to have, in minor units."""

    harness: Harness
    rail: RecordingRail
    payments: RecordingPayments
    random: Random = field(default_factory=lambda: Random(7))
    customers: list[str] = field(default_factory=list)
    merchants: list[str] = field(default_factory=list)
    expected: Counter[str] = field(default_factory=Counter)
    happened: Counter[str] = field(default_factory=Counter)

    async def open(self) -> None:
        """Register 200 users, each with an account; the first customer may pay at most R$ 50 at once."""
        for number in range(USERS):
            user = await self.harness.user(cpf(100_000_001 + number))
            limits: dict[str, Any] = {"limits": {"per_payment": 5_000}} if number == MERCHANTS else {}
            account = (await self.harness.account(owner_id=user["id"], **limits))["id"]
            (self.merchants if number < MERCHANTS else self.customers).append(account)

    async def pay_in(self, account: str, value: int) -> None:
        """Pay in by PIX: the provider reports the payment of the charge."""
        made = await deposit(self.harness, account, value)
        await self.harness.run_events()
        await self.report_deposit(made, value)
        self.expected[account] += value

    async def report_deposit(self, made: Any, value: int) -> None:
        """Report the payment of the last requested charge, twice, as providers do."""
        self.happened["deposits"] += 1
        end_to_end = f"E99999004202601010000{self.happened['deposits']:011d}"
        for _ in range(2):
            answer = await callback(self.harness, report(self.rail.requested[-1][0], value, end_to_end))
            assert answer.status == 200, answer.body
        await self.harness.run_events()
        found = await self.harness.call("GET", f"/v1/deposits/{made['id']}")
        assert found.json["status"] == "settled"

    async def buy(self, payer: str, payee: str, value: int) -> None:
        """Buy from a merchant: mostly at once; some are captured in part, refunded in part, or canceled."""
        kind = self.random.choices(["whole", "part", "refund", "cancel"], (6, 2, 2, 1))[0]
        capture = "automatic" if kind in ("whole", "refund") else "manual"
        made = await self.harness.pay(payer, payee, value, capture=capture)
        await self.harness.run_events()
        path = f"/v1/payments/{made['id']}"
        paid = value
        if kind == "part":
            paid = value // 2
            assert (await self.act(f"{path}/capture", {"amount": brl(paid)})).status == 200
        elif kind == "cancel":
            paid = 0
            assert (await self.act(f"{path}/cancel")).status == 200
        elif kind == "refund":
            paid = value - value // 4
            assert (await self.act(f"{path}/refunds", {"amount": brl(value // 4)})).status == 201
        assert (await self.harness.payment(made["id"]))["status"] == ("canceled" if kind == "cancel" else "settled")
        self.happened[kind] += 1
        self.expected[payer] -= paid
        self.expected[payee] += paid

    async def act(self, path: str, body: Any = None) -> Answer:
        """Send a request and deliver the events that follow."""
        answer = await self.harness.call("POST", path, body)
        await self.harness.run_events()
        return answer

    async def pay_out(self, account: str, value: int, outcome: Any) -> None:
        """Pay a merchant's money out by PIX; the provider makes the payment or refuses it."""
        made = await pay_out(self.harness, account, value)
        await self.harness.run_events()
        assert (await payment_callback(self.harness, self.payments.decide(outcome))).status == 200
        await self.harness.run_events()
        status = (await self.harness.payment(made["id"]))["status"]
        assert status == ("settled" if outcome == "settled" else "failed")
        self.happened[f"paid out: {outcome}"] += 1
        self.expected[account] -= value if outcome == "settled" else 0

    async def tick(self, operation: str) -> None:
        """Deliver a tick of a schedule, and the events that follow."""
        envelope = self.harness.envelope(Tick(schedule="x"), tenant=PLATFORM)
        assert (await self.harness.deliver(operation, envelope)).status == 204
        await self.harness.run_events()


def brl(value: int) -> dict[str, Any]:
    """Return an amount in BRL."""
    return {"value": value, "currency": "BRL"}


@pytest.fixture
async def month(tmp_path: Path) -> AsyncIterator[Month]:
    """The marketplace on the embedded store, before its first day."""
    harness = await Harness.on_disk(tmp_path / "data")
    await harness.tenant()
    found = Month(harness, await with_rail(harness), await with_payments(harness))
    await found.open()
    yield found
    await harness.close()


async def outage(month: Month) -> None:
    """The provider does not answer for a while: what was begun meanwhile is paid after it, once."""
    account = month.customers[3]
    month.rail.outcome = Unavailable("the provider does not answer")
    made = await deposit(month.harness, account, 900)
    await month.harness.run_events()
    assert [one.operation for one in month.harness.undelivered] == ["providers/request_charge"]
    month.harness.undelivered.clear()
    month.rail.outcome = None
    month.harness.clock.advance(timedelta(minutes=5))
    await month.tick("operations/sweep_sagas")
    await month.report_deposit(made, 900)
    month.expected[account] += 900


async def suspension(month: Month) -> None:
    """The tenant is suspended: its requests are refused, what is in progress ends, and it is activated again."""
    payer, payee = month.customers[4], month.merchants[0]
    await month.pay_in(payer, 700)
    made = await month.harness.pay(payer, payee, 300)
    assert (await month.harness.call("POST", "/v1/tenants/acme/suspend")).status == 200
    refused = await month.harness.call("GET", "/v1/payments")
    assert (refused.status, refused.code) == (403, "tenant_suspended")
    await month.harness.run_events()
    assert (await month.harness.call("POST", "/v1/tenants/acme/activate")).status == 200
    assert (await month.harness.payment(made["id"]))["status"] == "settled"
    month.expected[payer] -= 300
    month.expected[payee] += 300


async def limit(month: Month) -> None:
    """A payment above the limit of its account is declined, and moves nothing."""
    payer = month.customers[0]
    await month.pay_in(payer, 9_000)
    made = await month.harness.pay(payer, month.merchants[1], 5_001)
    await month.harness.run_events()
    declined = await month.harness.payment(made["id"])
    assert (declined["status"], declined["failure"]["code"]) == ("declined", "limit_exceeded")


async def business(month: Month) -> None:
    """One day's money in, purchases, and payments out."""
    for customer in month.random.sample(month.customers, 4):
        await month.pay_in(customer, 4_000)
        for merchant in month.random.sample(month.merchants, 2):
            await month.buy(customer, merchant, month.random.randrange(100, 1_900))
    richest = max(month.merchants, key=lambda account: month.expected[account])
    if month.expected[richest] > 200:
        await month.pay_out(richest, month.expected[richest] // 2, month.random.choice(["settled", "refused"]))


async def close_books(month: Month) -> None:
    """The night: holds and sagas are swept, the day is audited and sealed."""
    for operation in ("operations/expire_holds", "operations/sweep_sagas", "operations/audit_day"):
        await month.tick(operation)
    await month.tick("operations/seal_days")


async def test_a_month_of_a_marketplace(month: Month) -> None:
    """After 30 days with 200 users, money in and out by PIX, partial captures, refunds, an outage and a suspension,
    every account has what the story expects, nothing is held, each day is audited and sealed, and the ledger clears."""
    harness = month.harness
    special = {OUTAGE_DAY: outage, SUSPENDED_DAY: suspension, SUSPENDED_DAY + 1: limit}
    for day in range(DAYS):
        await business(month)
        if day in special:
            await special[day](month)
        harness.clock.advance(timedelta(days=day + 1) - (harness.clock.now() - _START) + timedelta(minutes=30))
        await close_books(month)
    assert harness.undelivered == []
    assert min(month.happened.values()) > 0
    assert {"deposits", "whole", "part", "refund", "cancel"} <= month.happened.keys()

    for account in (*month.customers, *month.merchants):
        value = month.expected[account]
        assert await harness.balance(account) == (value, 0, value), account
    assert list(await harness.documents.find(HOLDS, "acme", Query({"status": "active"}))) == []

    [trial] = (await harness.call("GET", "/v1/ledger/trial-balance")).json["data"]
    assert trial["debits"] == trial["credits"] > 0
    moved = {one["account_id"]: one["credits"] - one["debits"] for one in trial["accounts"]}
    assert sum(moved.values()) == 0
    assert moved["sys_clearing_pix_brl"] == -sum(month.expected.values())

    audits = harness.events_of(AuditCompleted)
    assert [(fact.passed, fact.differences) for fact in audits] == [(True, ())] * DAYS
    assert len(harness.events_of(DaySealed)) == DAYS
    assert (await verify_seals(harness.documents, harness.runtime.ledger, "acme")).days == DAYS
    await verify_ledger(harness.runtime.ledger, "acme")

    period = {"provider": "pix", "from": "2026-01-01T00:00:00Z", "to": "2026-02-01T00:00:00Z"}
    reconciled = (await harness.call("POST", "/v1/reconciliations", period)).json
    reported = [item for item in reconciled["items"] if item["provider"] is not None]
    assert [item["rule"] for item in reported] == ["reference"] * (
        month.happened["deposits"] + month.happened["paid out: settled"]
    )
    assert reconciled["unmatched"] == 0
    shown = (await harness.call("GET", "/v1/operations/report")).json
    assert (shown["audit"]["passed"], shown["dead_letters"]["parked"]) == (True, 0)
    assert shown["seal"]["digest"] == harness.events_of(DaySealed)[-1].digest

    merchant = month.merchants[0]
    statement = (await harness.call("GET", f"/v1/accounts/{merchant}/statement")).json
    assert statement["closing_balance"]["value"] == month.expected[merchant]
    assert statement["totals"]["credits"] - statement["totals"]["debits"] == month.expected[merchant]


_START: Final = Harness.make().clock.now()
