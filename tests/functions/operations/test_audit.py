"""The daily audit of the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from events.deposits import DepositSettled
from events.ledger import AuditCompleted
from events.payments.returned import PaymentReturned
from events.sweeps import Tick
from functions.statements._lines import in_period
from shared.ports.documents import PLATFORM, Commit, Query
from shared.ports.ledger import Cause, Leg, Transfer
from shared.ports.rail import ReturnState
from shared.records.audits import AUDITS
from shared.records.payments import PAYMENTS, REFUNDS
from shared.records.returns import RETURNS, provider_reference
from shared.records.statement_lines import LINES
from tests.functions.providers.charges import charge, reported
from tests.functions.providers.rail import (
    pay_out,
    payment_callback,
    report,
    sent_return,
    with_payments,
    with_rail,
)
from tests.functions.providers.test_reconciliation import E1, paid_deposit
from tests.harness import Harness


async def tick(harness: Harness) -> None:
    """Deliver one tick of the schedule."""
    envelope = harness.envelope(Tick(schedule="audit_day"), tenant=PLATFORM)
    delivery = await harness.deliver("operations/audit_day", envelope)
    assert delivery.status == 204, delivery


def audits(harness: Harness, tenant: str = "acme") -> list[str]:
    """Return the days of a tenant whose audits were published, in this order."""
    facts = [event for event in harness.events if event.type == AuditCompleted.type and event.tenant_id == tenant]
    parsed: list[Any] = [fact.parsed(AuditCompleted) for fact in facts]
    return [fact.day for fact in parsed]


async def audited(harness: Harness, tenant: str = "acme") -> Any:
    """Audit the day before, and return the fact of a tenant."""
    known = len(harness.events)
    await tick(harness)
    [fact] = [
        event.parsed(AuditCompleted)
        for event in harness.events[known:]
        if event.type == AuditCompleted.type and event.tenant_id == tenant
    ]
    return fact


async def audited_again(harness: Harness, day: str) -> Any:
    """Audit a day that has passed once more, and return the fact."""
    await harness.alter(AUDITS, day, passed=False)
    return await audited(harness)


async def day(harness: Harness) -> Mapping[str, Any]:
    """Let a day pass with a deposit, a payment and a refund of it. Return the settled payment."""
    await with_rail(harness)
    payer = (await harness.account())["id"]
    await paid_deposit(harness, payer, E1)
    payee = (await harness.account())["id"]
    payment = await harness.pay(payer, payee, 300)
    await harness.run_events()
    part = {"amount": {"value": 100, "currency": "BRL"}}
    refund = await harness.call("POST", f"/v1/payments/{payment['id']}/refunds", part)
    assert refund.status == 201
    await harness.run_events()
    harness.clock.advance(timedelta(days=1))
    return {**await harness.payment(payment["id"]), "refund_id": refund.json["id"]}


async def test_a_day_without_differences_passes(harness: Harness) -> None:
    """The fact has the day, the numbers of transfers and entries, and equal digests of postings and events."""
    await day(harness)
    fact = await audited(harness)
    assert (fact.day, fact.transfers, fact.entries) == ("2026-01-01", 3, 6)
    assert fact.postings_digest == fact.events_digest
    assert (fact.passed, fact.difference_count, fact.differences) == (True, 0, ())
    assert harness.runtime.telemetry.counters["ledger_audits", "passed"] == 1


async def test_a_quiet_day_passes(harness: Harness) -> None:
    """A day without movements passes, for every tenant, whatever happened on other days."""
    await day(harness)
    await harness.tenant("other")
    await audited(harness)
    harness.clock.advance(timedelta(days=1))
    await tick(harness)
    for tenant in ("acme", "other"):
        facts = [event for event in harness.events if event.type == AuditCompleted.type and event.tenant_id == tenant]
        fact: Any = facts[-1].parsed(AuditCompleted)
        assert (fact.day, fact.passed, fact.transfers, fact.differences) == ("2026-01-02", True, 0, ())
    assert harness.runtime.telemetry.counters["ledger_audits", "passed"] == 4


async def test_a_repeated_audit_is_one_fact(harness: Harness) -> None:
    """A day that has not passed is audited again, and its audits publish the fact under one id."""
    await day(harness)
    await audited(harness)
    await harness.alter(AUDITS, "2026-01-01", passed=False)
    await audited(harness)
    assert len(audits(harness)) == 2
    assert len({event.id for event in harness.events if event.type == AuditCompleted.type}) == 1


async def test_a_day_that_has_passed_is_not_audited_again(harness: Harness) -> None:
    """Further ticks of the same day publish nothing and keep the stored outcome."""
    await day(harness)
    await audited(harness)
    stored = await harness.documents.find(AUDITS, "acme", Query())
    harness.clock.advance(timedelta(hours=1))
    await tick(harness)
    assert audits(harness) == ["2026-01-01"]
    assert await harness.documents.find(AUDITS, "acme", Query()) == stored


async def test_missed_days_are_audited_later(harness: Harness) -> None:
    """When no tick came for ten days, the next ticks audit them, oldest first, a week at a time."""
    await day(harness)
    await audited(harness)
    harness.clock.advance(timedelta(days=10))
    await tick(harness)
    assert audits(harness) == [f"2026-01-0{number}" for number in range(1, 9)]
    await tick(harness)
    await tick(harness)
    assert audits(harness)[8:] == ["2026-01-09", "2026-01-10", "2026-01-11"]
    stored = await harness.documents.find(AUDITS, "acme", Query())
    assert [(audit["id"], audit["passed"]) for audit in stored] == [(name, True) for name in audits(harness)]


@pytest.mark.parametrize("kind", ["payment", "refund"])
async def test_a_settled_payment_or_refund_without_its_transfer_is_found(harness: Harness, kind: str) -> None:
    """A payment or refund that is settled with another transfer's id, or with another amount, is named."""
    payment = await day(harness)
    collection: Any = PAYMENTS if kind == "payment" else REFUNDS
    id = payment["id"] if kind == "payment" else payment["refund_id"]
    amount = "amount_captured" if kind == "payment" else "amount"
    changed: dict[str, Any] = {amount: 7}
    await harness.alter(collection, id, **changed)
    assert f"the {kind} {id} has another amount than its transfer" in (await audited(harness)).differences
    await harness.alter(collection, id, transfer_id="ltr_0")
    differences = (await audited(harness)).differences
    assert f"the {kind} {id} is settled without its transfer" in differences
    assert any(text.endswith(f"has no {kind} {id}") for text in differences)


async def given_back(harness: Harness, value: int = 1050) -> str:
    """Return a received payment of 10.50, or of another amount from the suspense account, to its payer; return the id
    of the return."""
    rail = await with_rail(harness)
    await charge(harness, (await harness.account())["id"])
    await reported(harness, report(rail.orders[0].reference, value))
    deposit_id = [event for event in harness.events if event.type == DepositSettled.type][-1].subject
    made = (await harness.call("POST", f"/v1/deposits/{deposit_id}/returns", {})).json
    reference = provider_reference(made["id"])
    rail.return_answer = ReturnState(reference, "returned", "D" + "1" * 31, value, None)
    await harness.run_events()
    assert (await harness.call("GET", f"/v1/returns/{made['id']}")).json["status"] == "settled"
    return str(made["id"])


@pytest.mark.parametrize("value", [1050, 1049])
async def test_a_settled_return_is_audited(harness: Harness, value: int) -> None:
    """A return from an account, and one from the suspense account, pass with their transfer, and are named with
    another amount."""
    return_id = await given_back(harness, value)
    harness.clock.advance(timedelta(days=1))
    assert (await audited(harness)).differences == ()
    await harness.alter(RETURNS, return_id, amount=7)
    again = await audited_again(harness, "2026-01-01")
    assert again.differences == (f"the return {return_id} has another amount than its transfer",)


@pytest.mark.parametrize("is_closed", [False, True])
async def test_a_payment_that_comes_back_late_is_audited(harness: Harness, *, is_closed: bool) -> None:
    """The refund of a payment that came back after 90 days passes with its transfer, also when a closed account's money
    goes to suspense, and is named with another amount."""
    provider = await with_payments(harness)
    provider.answers = "settled"
    payer = (await harness.account(1050))["id"]
    await pay_out(harness, payer)
    await harness.run_events()
    if is_closed:
        assert (await harness.call("POST", f"/v1/accounts/{payer}/close")).json["status"] == "closed"
    harness.clock.advance(timedelta(days=90))
    returned = provider.decide("settled")._replace(returns=(sent_return(1, 1050),))
    assert (await payment_callback(harness, returned)).status == 200
    await harness.run_events()
    [fact] = harness.events_of(PaymentReturned)
    harness.clock.advance(timedelta(days=1))
    assert (await audited(harness)).differences == ()
    await harness.alter(REFUNDS, fact.refund_id, amount=7)
    again = await audited_again(harness, "2026-04-01")
    assert again.differences == (f"the refund {fact.refund_id} has another amount than its transfer",)


@pytest.mark.parametrize("parts", [(1060,), (1050, 10)])
@pytest.mark.parametrize("is_closed", [False, True])
async def test_the_return_of_a_payment_that_moved_more_is_audited(
    harness: Harness, *, is_closed: bool, parts: tuple[int, ...]
) -> None:
    """The refunds of a payment that moved more than was held pass, although the suspense account has its part back, in
    a refund of its own or together with the payer's."""
    provider = await with_payments(harness)
    payer = (await harness.account(1050))["id"]
    harness.clock.advance(timedelta(days=1))
    made = await pay_out(harness, payer)
    await harness.run_events()
    moved = provider.decide("settled", 1060)
    assert (await payment_callback(harness, moved)).status == 200
    await harness.run_events()
    body = {"outcome": "settled", "reason": "The provider was asked."}
    assert (await harness.call("POST", f"/v1/payments/{made['id']}/resolve", body)).status == 200
    await harness.run_events()
    if is_closed:
        assert (await harness.call("POST", f"/v1/accounts/{payer}/close")).json["status"] == "closed"
    returns = tuple(sent_return(number, part) for number, part in enumerate(parts, 1))
    assert (await payment_callback(harness, moved._replace(returns=returns))).status == 200
    await harness.run_events()
    assert len(harness.events_of(PaymentReturned)) == len(parts)
    harness.clock.advance(timedelta(days=1))
    assert (await audited(harness)).differences == ()


async def test_a_transfer_without_a_cause_is_found(harness: Harness) -> None:
    """A transfer whose payment does not exist is named."""
    payment = await day(harness)
    legs = (
        Leg(payment["payer_account_id"], "debit", 5, "BRL"),
        Leg(payment["payee_account_id"], "credit", 5, "BRL"),
    )
    forged = Transfer("acme", "ltr_forged", Cause("payment", "pay_none"), legs)
    await harness.runtime.ledger.append(forged, "2026-01-01T23:00:00.000000Z")
    fact = await audited(harness)
    assert "the transfer ltr_forged has no payment pay_none" in fact.differences
    assert f"the statement of {payment['payer_account_id']} differs from the ledger" in fact.differences
    assert fact.postings_digest != fact.events_digest


async def test_a_statement_that_differs_is_found(harness: Harness) -> None:
    """When a line is missing, the digests differ and its account is named."""
    payment = await day(harness)
    account_id = payment["payee_account_id"]
    line = (await harness.documents.find(LINES, "acme", in_period(account_id, None, None)))[0]
    await harness.documents.commit(Commit("acme", deletes=[(LINES, line["id"])]))
    fact = await audited(harness)
    assert (fact.passed, fact.difference_count) == (False, 1)
    assert f"the statement of {account_id} differs from the ledger" in fact.differences
    assert fact.postings_digest != fact.events_digest


async def test_a_report_is_bounded(harness: Harness) -> None:
    """A fact names at most 20 differences, and counts all of them: here, transfers without their deposits."""
    account = await harness.account()
    for _ in range(23):
        await harness.fund(account["id"], 1)
    harness.clock.advance(timedelta(days=1))
    fact = await audited(harness)
    assert (fact.difference_count, len(fact.differences)) == (23, 20)
