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
from shared.adapters.bank_transfer.reports import reports_of
from shared.context.ledger_seals import verify_seals
from shared.context.ledger_verification import verify_ledger
from shared.core.clock import format_time
from shared.ports.documents import PLATFORM, Query, Unavailable
from shared.ports.rail import ReturnState
from shared.records.accounts import HOLDS
from shared.records.returns import provider_reference
from tests.functions.providers import bank as partner
from tests.functions.providers import cards
from tests.functions.providers.bank import RecordingBank, with_bank
from tests.functions.providers.cards import Gateway, with_gateway
from tests.functions.providers.rail import (
    RecordingPayments,
    RecordingRail,
    callback,
    deposit,
    pay_out,
    payment_callback,
    report,
    report_fraud,
    sent_return,
    with_payments,
    with_rail,
)
from tests.harness import Answer, Harness

USERS: Final = 200
MERCHANTS: Final = 20
DAYS: Final = 30
RETURNS_DAY: Final = 4
FRAUD_DAY: Final = 6
OUTAGE_DAY: Final = 9
CARD_DAY: Final = 11
BANK_DAY: Final = 13
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
    bank: RecordingBank
    gateway: Gateway
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

    async def pay_in(self, account: str, value: int) -> tuple[str, dict[str, Any]]:
        """Pay in by PIX: the provider reports the payment of the charge. Returns the deposit's id and the report."""
        made = await deposit(self.harness, account, value)
        await self.harness.run_events()
        self.expected[account] += value
        return made["id"], await self.report_deposit(made, value)

    async def report_deposit(self, made: Any, value: int) -> dict[str, Any]:
        """Report the payment of the last requested charge, twice, as providers do; return the report."""
        self.happened["deposits"] += 1
        end_to_end = f"E99999004202601010000{self.happened['deposits']:011d}"
        paid_at = format_time(self.harness.clock.now())
        paid = report(self.rail.requested[-1][0], value, end_to_end, horario=paid_at)
        for _ in range(2):
            answer = await callback(self.harness, paid)
            assert answer.status == 200, answer.body
        await self.harness.run_events()
        found = await self.harness.call("GET", f"/v1/deposits/{made['id']}")
        assert found.json["status"] == "settled"
        return paid

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

    async def pay_out(self, account: str, value: int, outcome: Any) -> str:
        """Pay a merchant's money out by PIX; the provider makes the payment or refuses it. Returns the payment's id."""
        made = await pay_out(self.harness, account, value)
        await self.harness.run_events()
        assert (await payment_callback(self.harness, self.payments.decide(outcome))).status == 200
        await self.harness.run_events()
        status = (await self.harness.payment(made["id"]))["status"]
        assert status == ("settled" if outcome == "settled" else "failed")
        self.happened[f"paid out: {outcome}"] += 1
        self.expected[account] -= value if outcome == "settled" else 0
        return str(made["id"])

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
    rail, payments, bank = await with_rail(harness), await with_payments(harness), await with_bank(harness)
    found = Month(harness, rail, payments, bank, await with_gateway(harness))
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
    month.payments.error = Unavailable("the provider does not answer")
    sent = await pay_out(month.harness, account, 300)
    await month.harness.run_events()
    assert [one.operation for one in month.harness.undelivered] == ["providers/submit_payment"]
    month.harness.undelivered.clear()
    month.payments.error, month.payments.answers = None, "settled"
    month.harness.clock.advance(timedelta(minutes=5))
    await month.tick("operations/sweep_sagas")
    month.payments.answers = "processing"
    assert (await month.harness.payment(sent["id"]))["status"] == "settled"
    month.happened["paid out: settled"] += 1
    month.expected[account] -= 300


async def returns(month: Month) -> None:
    """A part of a received payment goes back to its payer, and a payment out comes back in two parts."""
    account, merchant = month.customers[5], month.merchants[2]
    deposit_id, paid = await month.pay_in(account, 1_200)
    made = (await month.act(f"/v1/deposits/{deposit_id}/returns", {"amount": brl(500)})).json
    outcome = {"id": provider_reference(made["id"]), "rtrId": "D" + "1" * 31, "valor": "5.00", "status": "DEVOLVIDO"}
    for _ in range(2):
        assert (await callback(month.harness, {**paid, "devolucoes": [outcome]})).status == 200
        await month.harness.run_events()
    assert (await month.harness.call("GET", f"/v1/returns/{made['id']}")).json["status"] == "settled"
    month.expected[account] -= 500
    await month.harness.pay(account, merchant, 600)
    await month.harness.run_events()
    sent = await month.pay_out(merchant, 600, "settled")
    settled = month.payments.known[month.payments.orders[-1].reference]
    parts = sent_return(1, 250), sent_return(2, 350, natureza="MED_FRAUDE")
    for reported in (parts[:1], parts, parts[:1]):
        assert (await payment_callback(month.harness, settled._replace(returns=reported))).status == 200
        await month.harness.run_events()
    assert (await month.harness.payment(sent))["amount_refunded"] == brl(600)
    month.expected[account] -= 600
    month.expected[merchant] += 1_200
    month.happened["returned by us"] += 1
    month.happened["returned to us"] += len(parts)


async def fraud(month: Month) -> None:
    """A received payment is reported as a fraud after most of it was spent: the rest is held, and goes back when the
    tenant has not decided until the deadline. Another report is rejected."""
    account = month.customers[6]
    _, paid = await month.pay_in(account, 1_000)
    spent = month.expected[account] - 400
    await month.harness.pay(account, month.merchants[3], spent)
    await month.harness.run_events()
    assert (await report_fraud(month.harness, paid, 1_000)).status == 200
    await month.harness.run_events()
    [found] = (await month.harness.call("GET", "/v1/pix/fraud-reports")).json["data"]
    assert (found["amount"], found["amount_held"]) == (brl(1_000), brl(400))
    reference = provider_reference(found["return_id"])
    month.rail.return_answer = ReturnState(reference, "returned", "D" + "2" * 31, 400, None)
    month.expected[account] -= spent + 400
    month.expected[month.merchants[3]] += spent
    month.happened["returned by us"] += 1
    other = month.customers[7]
    _, paid = await month.pay_in(other, 800)
    assert (await report_fraud(month.harness, paid, 800, id="another")).status == 200
    await month.harness.run_events()
    [found] = (await month.harness.call("GET", "/v1/pix/fraud-reports", query=f"account={other}")).json["data"]
    assert found["amount_held"] == brl(800)
    rejected = await month.act(f"/v1/pix/fraud-reports/{found['id']}/reject", {"reason": "The goods were delivered."})
    assert rejected.json["status"] == "rejected"


async def card(month: Month) -> None:
    """A merchant is paid by card, and gives most of it back when the holder disputes the purchase."""
    merchant = month.merchants[4]
    made = await cards.charge(month.harness, merchant, 2_000)
    await month.gateway.run()
    assert (await month.harness.payment(made["id"]))["status"] == "settled"
    await month.act(f"/v1/payments/{made['id']}/refunds", {"amount": brl(1_500), "reason": "disputed"})
    await month.gateway.run()
    assert (await month.harness.payment(made["id"]))["amount_refunded"] == brl(1_500)
    month.expected[merchant] += 500


async def bank(month: Month) -> None:
    """A bank transfer comes back, which the bank does not report: its list of changes has it."""
    merchant = month.merchants[5]
    await month.pay_in(merchant, 700)
    made = await partner.ordered(month.harness, merchant, 700)
    reference = month.bank.orders[0].reference
    assert (await partner.told(month.harness, partner.report(reference, "settled", 700))).status == 200
    await month.harness.run_events()
    now = format_time(month.harness.clock.now())
    month.bank.changes = reports_of([partner.report(reference, "returned", 700, updated_at=now)])
    month.harness.clock.advance(timedelta(minutes=2))
    await month.tick("providers/poll_payments")
    assert (await month.harness.payment(made["id"]))["amount_refunded"] == brl(700)


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
    """The night: holds, sagas and deadlines are swept, the day is audited and sealed."""
    for operation in (
        "operations/expire_holds",
        "operations/sweep_sagas",
        "providers/expire_pix_charges",
        "operations/audit_day",
        "operations/seal_days",
    ):
        await month.tick(operation)


async def test_a_month_of_a_marketplace(month: Month) -> None:
    """After 30 days with 200 users, money in and out by PIX, bank and card, partial captures, refunds, returns in both
    directions, reports of fraud, an outage and a suspension, every account has what the story expects, nothing is held,
    each day is audited and sealed, the ledger clears, and all rails are reconciled."""
    harness = month.harness
    special = {
        RETURNS_DAY: returns,
        FRAUD_DAY: fraud,
        OUTAGE_DAY: outage,
        CARD_DAY: card,
        BANK_DAY: bank,
        SUSPENDED_DAY: suspension,
        SUSPENDED_DAY + 1: limit,
    }
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
    clearing = [moved[f"sys_clearing_{rail}_brl"] for rail in ("pix", "bank_transfer", "card")]
    assert (sum(clearing), clearing[1:]) == (-sum(month.expected.values()), [0, -500])

    audits = harness.events_of(AuditCompleted)
    assert [(fact.passed, fact.differences) for fact in audits] == [(True, ())] * DAYS
    assert len(harness.events_of(DaySealed)) == DAYS
    assert (await verify_seals(harness.documents, harness.runtime.ledger, "acme")).days == DAYS
    await verify_ledger(harness.runtime.ledger, "acme")

    reports = ("deposits", "paid out: settled", "returned by us", "returned to us")
    movements = {"pix": sum(month.happened[name] for name in reports), "bank_transfer": 2, "card": 2}
    for provider, number in movements.items():
        period = {"provider": provider, "from": "2026-01-01T00:00:00Z", "to": "2026-02-01T00:00:00Z"}
        reconciled = (await harness.call("POST", "/v1/reconciliations", period)).json
        assert [item["rule"] for item in reconciled["items"]] == ["reference"] * number, provider
        assert reconciled["unmatched"] == 0
    fraud_reports = (await harness.call("GET", "/v1/pix/fraud-reports")).json["data"]
    assert {found["status"] for found in fraud_reports} == {"accepted", "rejected"}
    shown = (await harness.call("GET", "/v1/operations/report")).json
    assert (shown["audit"]["passed"], shown["dead_letters"]["parked"]) == (True, 0)
    assert shown["seal"]["digest"] == harness.events_of(DaySealed)[-1].digest

    merchant = month.merchants[0]
    statement = (await harness.call("GET", f"/v1/accounts/{merchant}/statement")).json
    assert statement["closing_balance"]["value"] == month.expected[merchant]
    assert statement["totals"]["credits"] - statement["totals"]["debits"] == month.expected[merchant]


_START: Final = Harness.make().clock.now()
