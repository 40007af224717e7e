"""Reports of fraud (MED): what is there is held; accepted it is returned, rejected or withdrawn it is released."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.deposits import DepositSettled
from events.fraud_reports import FraudReportAccepted, FraudReportCanceled, FraudReported, FraudReportRejected
from events.returns import ReturnSettled
from events.sweeps import Tick
from functions.providers import _fraud_report
from functions.providers._fraud_report_states import FRAUD_REPORT_CHANGES
from shared.core.clock import format_time
from shared.ports.documents import PLATFORM, Query, Unavailable
from shared.ports.rail import RailRefused, ReturnState
from shared.records.accounts import ACCOUNTS
from shared.records.fraud_reports import FRAUD_REPORTS
from shared.records.idempotency import IDEMPOTENCY
from shared.records.returns import provider_reference
from tests.functions.providers.charges import charge, reported, suspended
from tests.functions.providers.rail import (
    MED_PATH,
    REPORT_ID,
    RecordingRail,
    callback,
    report,
    report_fraud,
    with_rail,
)
from tests.harness import Answer, Harness

REPORTS = "/v1/pix/fraud-reports"


def brl(value: int) -> dict[str, Any]:
    return {"value": value, "currency": "BRL"}


class Stage:
    """An account with 10.50 from a paid charge, and the provider's report of that payment."""

    def __init__(self, harness: Harness, rail: RecordingRail, account_id: str, paid: dict[str, Any]) -> None:
        self.harness = harness
        self.rail = rail
        self.account_id = account_id
        self.paid = paid

    async def fraud(self, value: int = 1050, **more: Any) -> Any:
        """Have the payment reported as a fraud, twice, deliver all events, and return the report."""
        for _ in range(2):
            answer = await report_fraud(self.harness, self.paid, value, **more)
            assert (answer.status, answer.json) == (200, {"received": 1})
        await self.harness.run_events(times=2, shuffled=True)
        return (await self.harness.call("GET", REPORTS)).json["data"][0]

    async def decide(self, made: Any, decision: str, **options: Any) -> Answer:
        """Accept or reject the report, and deliver all events."""
        body = {"reason": "The goods were delivered"} if decision == "reject" else {}
        answer = await self.harness.call("POST", f"{REPORTS}/{made['id']}/{decision}", body, **options)
        await self.harness.run_events(times=2, shuffled=True)
        return answer

    async def returned(self, made: Any) -> Any:
        """Return the return of the report."""
        return (await self.harness.call("GET", f"/v1/returns/{made['return_id']}")).json

    async def balance(self) -> tuple[int, int, int]:
        return await self.harness.balance(self.account_id)


@pytest.fixture
async def stage(harness: Harness) -> Stage:
    return await staged(harness)


async def staged(harness: Harness, value: int = 1050) -> Stage:
    rail = await with_rail(harness)
    account = await harness.account()
    await charge(harness, account["id"])
    paid = report(rail.orders[0].reference, value)
    await reported(harness, paid)
    return Stage(harness, rail, account["id"], paid)


async def test_an_accepted_report_returns_the_money(stage: Stage) -> None:
    """The amount is held at once and once; accepted, it is returned as a fraud, and the payer's bank is told."""
    made = await stage.fraud()
    due = format_time(stage.harness.clock.now() + timedelta(days=7))
    assert (made["status"], made["amount"], made["amount_held"], made["analysis_due_at"]) == (
        "open",
        brl(1050),
        brl(1050),
        due,
    )
    assert made["details"] == "The payer did not make this payment."
    assert await stage.balance() == (1050, 1050, 0)
    assert ((await stage.returned(made))["status"], stage.rail.returns) == ("held", [])
    answer = await stage.decide(made, "accept")
    assert (answer.status, answer.json["status"]) == (200, "accepted")
    (order,) = {*stage.rail.returns}
    assert (order.amount, order.is_fraud) == (1050, True)
    assert set(stage.rail.decisions) == {(REPORT_ID, True, None)}
    returned = await stage.returned(made)
    assert (returned["status"], returned["nature"]) == ("processing", "fraud")
    outcome = {"id": order.reference, "valor": "10.50", "status": "DEVOLVIDO", "rtrId": "D" + "1" * 31}
    await reported(stage.harness, {**stage.paid, "devolucoes": [outcome]})
    assert ((await stage.returned(made))["status"], await stage.balance()) == ("settled", (0, 0, 0))
    assert len(stage.harness.events_of(FraudReported)) == len(stage.harness.events_of(FraudReportAccepted)) == 1
    assert (await stage.decide(made, "reject")).code == "illegal_state"
    assert not stage.harness.undelivered


async def test_a_rejected_report_releases_the_money(stage: Stage) -> None:
    """Rejected with a reason, the hold is released, nothing is returned, and the payer's bank gets the reason."""
    made = await stage.fraud()
    answer = await stage.decide(made, "reject")
    assert (answer.json["status"], answer.json["reason"]) == ("rejected", "The goods were delivered")
    assert (await stage.balance(), stage.rail.returns) == ((1050, 0, 1050), [])
    assert set(stage.rail.decisions) == {(REPORT_ID, False, "The goods were delivered")}
    returned = await stage.returned(made)
    assert (returned["status"], returned["failure"]["code"]) == ("failed", "report_rejected")
    assert len(stage.harness.events_of(FraudReportRejected)) == 1
    assert (await stage.decide(made, "accept")).code == "illegal_state"
    answer = await stage.harness.call("POST", f"{REPORTS}/{made['id']}/reject", {})
    assert (answer.status, answer.json["errors"][0]["pointer"]) == (422, "/reason")


async def test_a_withdrawn_report_releases_the_money(stage: Stage) -> None:
    """When the payer's bank withdraws its report, the hold is released; after a decision nothing changes."""
    made = await stage.fraud()
    withdrawn = await stage.fraud(status="CANCELLED")
    assert (withdrawn["id"], withdrawn["status"]) == (made["id"], "canceled")
    assert await stage.balance() == (1050, 0, 1050)
    assert len(stage.harness.events_of(FraudReportCanceled)) == 1
    assert (await stage.decide(made, "accept")).code == "illegal_state"


async def test_as_much_as_is_there_is_held(stage: Stage) -> None:
    """A part of the money that is left is held and returned; what comes in later is not touched."""
    payee = await stage.harness.account()
    await stage.harness.pay(stage.account_id, payee["id"], 800)
    await stage.harness.run_events()
    made = await stage.fraud()
    assert (made["amount"], made["amount_held"]) == (brl(1050), brl(250))
    assert (await stage.returned(made))["amount"] == brl(250)
    await stage.harness.fund(stage.account_id, 500)
    assert await stage.balance() == (750, 250, 500)
    stage.rail.return_answer = ReturnState(provider_reference(made["return_id"]), "returned", None, 250, None)
    await stage.decide(made, "accept")
    assert await stage.balance() == (500, 0, 500)


async def test_an_empty_account_has_nothing_to_hold(stage: Stage) -> None:
    """When nothing is left, the report shows zero, and its acceptance returns nothing."""
    payee = await stage.harness.account()
    await stage.harness.pay(stage.account_id, payee["id"], 1050)
    await stage.harness.run_events()
    made = await stage.fraud()
    assert made["amount_held"] == brl(0)
    assert (await stage.decide(made, "accept")).json["status"] == "accepted"
    assert (stage.rail.returns, (await stage.returned(made))["status"]) == ([], "failed")


@pytest.mark.parametrize("mode", ["debits", "all"])
async def test_a_blocked_account_is_held_too(stage: Stage, mode: str) -> None:
    """A block does not protect the money from a report, and an overdraft is not used for it."""
    await stage.harness.alter(ACCOUNTS, stage.account_id, status="blocked", block_mode=mode, overdraft_limit=5000)
    made = await stage.fraud()
    assert made["amount_held"] == brl(1050)
    assert (await stage.balance())[1] == 1050
    stage.rail.return_answer = ReturnState(provider_reference(made["return_id"]), "returned", None, 1050, None)
    await stage.decide(made, "accept")
    assert (await stage.balance())[:2] == (0, 0)


async def test_returned_money_is_not_asked_back_again(stage: Stage) -> None:
    """A report asks for what is not returned and not being returned; when that is nothing, there is no report."""
    (fact,) = stage.harness.events_of(DepositSettled)
    path = f"/v1/deposits/{fact.deposit_id}/returns"
    assert (await stage.harness.call("POST", path, {"amount": brl(1000)})).status == 201
    await stage.harness.run_events()
    assert (await stage.fraud())["amount"] == brl(50)
    assert (await stage.harness.call("POST", path, {})).code == "amount_exceeds_refundable"
    answer = await report_fraud(stage.harness, stage.paid, 1050, id="another")
    assert answer.status == 200
    assert len((await stage.harness.call("GET", REPORTS)).json["data"]) == 1


async def test_suspended_money_is_reported_too(harness: Harness) -> None:
    """A payment in the suspense account is returned from there when its report is accepted."""
    stage = await staged(harness, 1049)
    made = await stage.fraud(1049)
    assert (made["account_id"], made["amount_held"]) == ("sys_suspense_brl", brl(1049))
    stage.rail.return_answer = ReturnState(provider_reference(made["return_id"]), "returned", None, 1049, None)
    await stage.decide(made, "accept")
    assert await suspended(harness) == 0
    assert len(harness.events_of(ReturnSettled)) == 1


async def test_a_report_waits_for_the_ledger(harness: Harness) -> None:
    """A report about a payment that is not in the ledger yet is answered with 503, so that it is sent again."""
    rail = await with_rail(harness)
    account = await harness.account()
    await charge(harness, account["id"])
    paid = report(rail.orders[0].reference)
    assert (await callback(harness, paid)).status == 200
    assert (await report_fraud(harness, paid, 1050)).status == 503
    await harness.run_events()
    assert (await report_fraud(harness, paid, 1050)).status == 200
    assert len(harness.events_of(FraudReported)) == 1


async def test_an_unknown_payment_is_logged(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """A report about a payment that the platform does not have makes nothing and is logged."""
    for more in ({"txid": None}, {"txid": "x" * 26}, {"endToEndId": "E" + "9" * 31}, {"status": "CANCELLED"}):
        assert (await report_fraud(stage.harness, stage.paid, 1, **more)).status == 200
    assert (await stage.harness.call("GET", REPORTS)).json["data"] == []
    assert len([record for record in caplog.records if "fraud" in record.getMessage()]) == 4


@pytest.mark.parametrize(
    "body", [b"{", b"{}", b'{"infractionReports": [{"id": "1"}]}', b'{"infractionReports": [{"id": "a b"}]}']
)
async def test_a_report_that_cannot_be_read(stage: Stage, body: bytes) -> None:
    """A callback that is not JSON, or no callback of the rail, is refused."""
    assert (await callback(stage.harness, path=MED_PATH, body=body)).status in (400, 422)


async def test_a_report_with_another_signature_is_refused(stage: Stage) -> None:
    """A report that the provider did not sign is refused with 401 and holds nothing."""
    answer = await report_fraud(stage.harness, stage.paid, 1050, secret=b"another")
    assert (answer.status, answer.code) == (401, "invalid_signature")
    assert await stage.balance() == (1050, 0, 1050)


async def test_a_decision_whose_answer_is_lost_is_sent_again(stage: Stage) -> None:
    """Without the provider's answer the decision is delivered again; a refusal of it is only logged."""
    made = await stage.fraud()
    stage.rail.outcome = Unavailable("timeout")
    await stage.harness.call("POST", f"{REPORTS}/{made['id']}/reject", {"reason": "No"})
    fact = [one for one in stage.harness.events if one.type == FraudReportRejected.type][-1]
    assert (await stage.harness.deliver("providers/answer_fraud_report", fact)).status == 503
    stage.rail.outcome = RailRefused("late", "too late")
    assert (await stage.harness.deliver("providers/answer_fraud_report", fact)).status == 204


@pytest.mark.parametrize("decision", ["accept", "reject"])
async def test_the_response_to_a_decision_is_stored_sealed(stage: Stage, decision: str) -> None:
    """What the payer's bank says of a report is in the response to its decision, and not in the stored response."""
    made = await stage.fraud()
    assert made["details"] in (await stage.decide(made, decision)).json["details"]
    stored = await stage.harness.documents.find(IDEMPOTENCY, "acme", Query(limit=100))
    assert [one for one in stored if made["details"] in one["body"]] == []
    assert any(one["subject"] == made["id"] and one["sealed"] for one in stored)


async def test_lost_events_of_a_report_are_published_again(stage: Stage) -> None:
    """A report whose hold request was lost, and one whose acceptance was lost, are driven forward by the sweep."""
    await report_fraud(stage.harness, stage.paid, 1050)
    stage.harness._routed = len(stage.harness.events)
    (made,) = (await stage.harness.call("GET", REPORTS)).json["data"]
    assert made["amount_held"] is None
    assert (await stage.harness.call("POST", f"{REPORTS}/{made['id']}/accept", {})).code == "illegal_state"
    await overdue(stage)
    assert (await stage.returned(made))["status"] == "held"
    await stage.harness.call("POST", f"{REPORTS}/{made['id']}/accept", {})
    stage.harness._routed = len(stage.harness.events)
    stage.rail.return_answer = ReturnState(provider_reference(made["return_id"]), "returned", None, 1050, None)
    await overdue(stage)
    assert ((await stage.returned(made))["status"], await stage.balance()) == ("settled", (0, 0, 0))


async def overdue(stage: Stage) -> None:
    """Let every deadline pass, deliver the sweep's tick, and deliver all events."""
    stage.harness.clock.advance(timedelta(hours=1))
    tick = stage.harness.envelope(Tick(schedule="sweep_sagas"), tenant=PLATFORM)
    assert (await stage.harness.deliver("operations/sweep_sagas", tick)).status == 204
    await stage.harness.run_events()


async def deadline(stage: Stage, *, days: float = 7, ticks: int = 1) -> None:
    """Move the clock, deliver the ticks that end what is overdue, and deliver all events."""
    stage.harness.clock.advance(timedelta(days=days))
    for _ in range(ticks):
        tick = stage.harness.envelope(Tick(schedule="expire_pix_charges"), tenant=PLATFORM)
        assert (await stage.harness.deliver("providers/expire_pix_charges", tick)).status == 204
    await stage.harness.run_events(times=2, shuffled=True)


@pytest.mark.parametrize("spent", [0, 800, 1050])
async def test_a_report_without_a_decision_is_accepted_at_its_deadline(stage: Stage, spent: int) -> None:
    """A report stays open until its deadline, and then it is accepted once: what is held, all, a part or nothing, is
    returned as a fraud, and the payer's bank is told."""
    if spent:
        await stage.harness.pay(stage.account_id, (await stage.harness.account())["id"], spent)
        await stage.harness.run_events()
    held = 1050 - spent
    made = await stage.fraud()
    stage.rail.return_answer = ReturnState(provider_reference(made["return_id"]), "returned", None, held, None)
    await deadline(stage, days=6.99)
    assert (await stage.balance(), stage.rail.decisions) == ((held, held, 0), [])
    await deadline(stage, days=0.02, ticks=3)
    found = (await stage.harness.call("GET", f"{REPORTS}/{made['id']}")).json
    assert (found["status"], found["reason"]) == ("accepted", "No decision was made in time.")
    assert found["decided_at"] == format_time(stage.harness.clock.now())
    assert (await stage.balance(), {order.amount for order in stage.rail.returns}) == (
        (0, 0, 0),
        {held} if held else set(),
    )
    assert (await stage.returned(made))["status"] == ("settled" if held else "failed")
    assert set(stage.rail.decisions) == {(REPORT_ID, True, "No decision was made in time.")}
    assert len(stage.harness.events_of(FraudReportAccepted)) == 1
    assert (await stage.decide(made, "reject")).code == "illegal_state"
    assert not stage.harness.undelivered


@pytest.mark.parametrize("end", ["reject", "withdraw"])
async def test_the_deadline_of_a_report_that_has_ended_changes_nothing(stage: Stage, end: str) -> None:
    """A report that was rejected or withdrawn stays so, and its money stays on the account."""
    made = await stage.fraud()
    if end == "reject":
        await stage.decide(made, "reject")
    else:
        await stage.fraud(status="CANCELLED")
    await deadline(stage, days=30, ticks=2)
    assert (await stage.balance(), stage.rail.returns) == ((1050, 0, 1050), [])
    assert stage.harness.events_of(FraudReportAccepted) == []


async def test_the_deadline_waits_for_the_hold(stage: Stage) -> None:
    """A report whose hold is not answered stays open after its deadline until it is, and is accepted then."""
    await report_fraud(stage.harness, stage.paid, 1050)
    waiting, stage.harness._routed = stage.harness._routed, len(stage.harness.events)
    await deadline(stage, days=8)
    (made,) = (await stage.harness.call("GET", REPORTS)).json["data"]
    assert (made["status"], made["amount_held"]) == ("open", None)
    stage.harness._routed = waiting
    await stage.harness.run_events()
    await deadline(stage, days=0)
    assert (await stage.harness.call("GET", f"{REPORTS}/{made['id']}")).json["status"] == "accepted"
    assert stage.rail.returns[0].amount == 1050


async def test_one_tick_accepts_a_bounded_number_of_reports(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tick decides on the oldest reports up to a bound, of a suspended tenant too, and the next one on the others."""
    monkeypatch.setattr(_fraud_report, "MAX_OVERDUE", 2)
    for number in range(3):
        await report_fraud(stage.harness, stage.paid, 100, id=f"report-{number}")
        await stage.harness.run_events()
        stage.harness.clock.advance(timedelta(minutes=1))
    assert (await stage.harness.call("POST", "/v1/tenants/acme/suspend")).status == 200
    await deadline(stage)
    assert {decision[0] for decision in stage.rail.decisions} == {"report-0", "report-1"}
    await deadline(stage, days=0)
    assert {decision[0] for decision in stage.rail.decisions} == {"report-0", "report-1", "report-2"}


async def test_reports_without_an_answered_hold_delay_no_other(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many overdue reports wait for the answer about their hold, the tick accepts those that do not, and the
    waiting ones when they are answered."""
    monkeypatch.setattr(_fraud_report, "MAX_OVERDUE", 2)
    for number in range(3):
        await report_fraud(stage.harness, stage.paid, 100, id=f"waiting-{number}")
    stage.harness._routed = len(stage.harness.events)
    stage.harness.clock.advance(timedelta(minutes=1))
    await report_fraud(stage.harness, stage.paid, 100, id="answered")
    await stage.harness.run_events()
    await deadline(stage, days=7.01)
    assert {decision[0] for decision in stage.rail.decisions} == {"answered"}
    await overdue(stage)
    await deadline(stage, days=0, ticks=2)
    assert {decision[0] for decision in stage.rail.decisions} == {"answered", *(f"waiting-{n}" for n in range(3))}


async def test_a_report_that_is_rejected_before_the_hold(stage: Stage) -> None:
    """A report that is rejected before its hold is made leaves no hold, whatever arrives first."""
    await report_fraud(stage.harness, stage.paid, 1050)
    (made,) = (await stage.harness.call("GET", REPORTS)).json["data"]
    await stage.decide(made, "reject")
    assert await stage.balance() == (1050, 0, 1050)


async def test_another_tenants_report_is_not_found(stage: Stage) -> None:
    """Another tenant neither sees nor decides a report, and lists none."""
    made = await stage.fraud()
    await stage.harness.tenant("other")
    for answer in (
        await stage.harness.call("GET", f"{REPORTS}/{made['id']}", tenant="other"),
        await stage.decide(made, "accept", tenant="other"),
        await stage.decide(made, "reject", tenant="other"),
    ):
        assert (answer.status, answer.code) == (404, "not_found")
    assert (await stage.harness.call("GET", REPORTS, tenant="other")).json["data"] == []
    assert (await stage.harness.call("GET", f"{REPORTS}/{made['id']}")).json == made


async def test_reports_are_listed_by_status_and_account(stage: Stage) -> None:
    """The list filters by status and account."""
    made = await stage.fraud()
    for query, found in (("status=open", [made]), ("status=accepted", []), (f"account={stage.account_id}", [made])):
        assert (await stage.harness.call("GET", REPORTS, query=query)).json["data"] == found


async def test_what_the_payers_bank_says_is_sealed(stage: Stage) -> None:
    """The text of the payer's bank, which may name persons, is not stored in plain."""
    made = await stage.fraud()
    stored = await stage.harness.documents.get(FRAUD_REPORTS, "acme", made["id"])
    assert stored is not None
    assert stored["details"] is not None
    assert "payer" not in stored["details"]


def test_a_decided_report_never_changes() -> None:
    """Every pair of statuses: only an open report changes."""
    assert {status: set(changes) for status, changes in FRAUD_REPORT_CHANGES.items()} == {
        "open": {"accepted", "rejected", "canceled"},
        "accepted": set(),
        "rejected": set(),
        "canceled": set(),
    }


@given(st.integers(0, 1050), st.integers(1, 3000), st.sampled_from(["accept", "reject", "withdraw"]))
async def test_what_is_held_is_never_more_than_there_is(spent: int, asked: int, end: str) -> None:
    """Whatever was spent and asked back, the hold is at most the rest; afterwards nothing is held, and only an accepted
    report takes money."""
    harness = Harness.make()
    await harness.tenant()
    stage = await staged(harness)
    if spent:
        await harness.pay(stage.account_id, (await harness.account())["id"], spent)
        await harness.run_events()
    made = await stage.fraud(asked)
    held = min(asked, 1050 - spent)
    assert made["amount_held"] == brl(held)
    assert await stage.balance() == (1050 - spent, held, 1050 - spent - held)
    if end == "withdraw":
        await stage.fraud(asked, status="CANCELLED")
    else:
        stage.rail.return_answer = ReturnState(provider_reference(made["return_id"]), "returned", None, held, None)
        await stage.decide(made, end)
    left = 1050 - spent - (held if end == "accept" else 0)
    assert await stage.balance() == (left, 0, left)
