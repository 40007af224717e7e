"""Deposits are charged at the rail and settle with their transfer; an unknown outcome is never treated as a failure."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from events.sweeps import SagaOverdue, Tick
from shared.ports.documents import PLATFORM, Unavailable
from shared.ports.rail import RailRefused
from shared.records.accounts import ACCOUNTS
from shared.records.deposits import DEPOSITS
from tests.functions.payments.story import put
from tests.functions.providers.rail import RecordingRail, callback, deposit, report, with_rail
from tests.harness import Harness


@pytest.fixture
async def rail(harness: Harness) -> RecordingRail:
    """The rail of the harness."""
    return await with_rail(harness)


async def status(harness: Harness, deposit_id: str) -> str:
    """Return the deposit's status."""
    return str((await harness.call("GET", f"/v1/deposits/{deposit_id}")).json["status"])


async def test_a_deposit_is_charged_reported_posted_and_settled(harness: Harness, rail: RecordingRail) -> None:
    """One charge is requested under a valid txid, and after its payment the account is credited."""
    account = await harness.account()
    made = await deposit(harness, account["id"])
    assert (made["status"], made["failure"], made["method"]) == ("created", None, "pix")
    await harness.run_events(times=2)
    ((txid, amount, currency, url),) = set(rail.requested)
    assert (len(txid), txid.isalnum(), amount, currency) == (32, True, 1050, "BRL")
    assert url == "http://127.0.0.1:8080/v1/providers/pix/callbacks"
    assert await status(harness, made["id"]) == "created"
    assert (await callback(harness, report(txid))).json == {"received": 1}
    await harness.run_events(times=2, shuffled=True)
    assert await status(harness, made["id"]) == "settled"
    assert await harness.balance(account["id"]) == (1050, 0, 1050)


@pytest.mark.parametrize(
    ("change", "code", "pointer"),
    [
        ({"account_id": "acc_unknown"}, "unknown_reference", "/account_id"),
        ({"method": "card"}, "validation_failed", "/method"),
        ({"amount": {"value": 100, "currency": "USD"}}, "currency_mismatch", "/amount/currency"),
        ({"amount": {"value": 10**12, "currency": "BRL"}}, "validation_failed", "/amount/value"),
        ({"amount": {"value": 0, "currency": "BRL"}}, "validation_failed", "/amount/value"),
        ({"note": "x"}, "validation_failed", "/note"),
    ],
)
async def test_an_invalid_deposit_is_refused(harness: Harness, change: dict[str, Any], code: str, pointer: str) -> None:
    """An invalid deposit is answered with 422, its code and a pointer to the field."""
    account = await harness.account()
    body = {"account_id": account["id"], "amount": {"value": 1, "currency": "BRL"}, "method": "pix", **change}
    answer = await harness.call("POST", "/v1/deposits", body)
    assert (answer.status, answer.code) == (422, code)
    assert answer.json["errors"][0]["pointer"] == pointer


async def test_pix_does_not_pay_into_an_account_in_another_currency(harness: Harness) -> None:
    """A PIX deposit to an account in another currency than BRL is refused."""
    account = await harness.account(currency="USD")
    body = {"account_id": account["id"], "amount": {"value": 1, "currency": "BRL"}, "method": "pix"}
    answer = await harness.call("POST", "/v1/deposits", body)
    assert (answer.status, answer.code) == (422, "currency_mismatch")


async def test_a_closed_account_is_refused_and_one_blocked_for_all_fails_the_deposit(
    harness: Harness, rail: RecordingRail
) -> None:
    """A deposit to a closed account is an HTTP error; one to an account blocked for all movements fails without a
    charge."""
    account = await harness.account()
    await put(harness, ACCOUNTS, account["id"], status="blocked", block_mode="all")
    made = await deposit(harness, account["id"])
    await harness.run_events()
    ended = (await harness.call("GET", f"/v1/deposits/{made['id']}")).json
    assert (ended["status"], ended["failure"]["code"], rail.requested) == ("failed", "account_blocked", [])
    await put(harness, ACCOUNTS, account["id"], status="closed")
    body = {"account_id": account["id"], "amount": {"value": 1, "currency": "BRL"}, "method": "pix"}
    answer = await harness.call("POST", "/v1/deposits", body)
    assert (answer.status, answer.code) == (422, "account_closed")


async def test_an_account_blocked_for_debits_receives_deposits(harness: Harness, rail: RecordingRail) -> None:
    """An account that is blocked only for debits receives deposits."""
    account = await harness.account()
    await put(harness, ACCOUNTS, account["id"], status="blocked", block_mode="debits")
    await deposit(harness, account["id"])
    await harness.run_events()
    await callback(harness, report(rail.requested[0][0]))
    await harness.run_events()
    assert (await harness.balance(account["id"]))[0] == 1050


async def test_a_rail_that_does_not_answer_leaves_the_outcome_open(harness: Harness, rail: RecordingRail) -> None:
    """While the rail does not answer, the event is delivered again, the deposit does not fail, and its callback is
    processed."""
    account = await harness.account()
    rail.outcome = Unavailable("timeout")
    made = await deposit(harness, account["id"])
    created = harness.events[-1]
    delivery = await harness.deliver("providers/request_charge", created)
    assert (delivery.status, delivery.headers["Kne-Code"]) == (503, "dependency_unavailable")
    assert await status(harness, made["id"]) == "created"
    await callback(harness, report(rail.requested[0][0]))
    await harness.run_events()
    assert await status(harness, made["id"]) == "settled"
    rail.outcome = None
    assert (await harness.deliver("providers/request_charge", created)).status == 204
    assert len({reference for reference, *_ in rail.requested}) == 1


async def test_an_unconfigured_rail_is_unavailable(harness: Harness) -> None:
    """Without a configured rail, the event is answered with 503 and delivered again."""
    account = await harness.account()
    await deposit(harness, account["id"])
    assert (await harness.deliver("providers/request_charge", harness.events[-1])).status == 503


async def test_a_charge_that_the_rail_refuses_fails_the_deposit(harness: Harness, rail: RecordingRail) -> None:
    """A deposit fails when the rail refuses its charge."""
    account = await harness.account()
    rail.outcome = RailRefused("CobOperacaoInvalida", "The key is not yours.")
    made = await deposit(harness, account["id"])
    await harness.run_events()
    ended = (await harness.call("GET", f"/v1/deposits/{made['id']}")).json
    assert (ended["status"], ended["failure"]["code"]) == ("failed", "provider_refused")
    assert "CobOperacaoInvalida" in ended["failure"]["detail"]


async def overdue(harness: Harness) -> None:
    """Move the clock by an hour, and deliver the sweep's tick and all events that follow."""
    harness.clock.advance(timedelta(hours=1))
    tick = harness.envelope(Tick(schedule="sweep_sagas"), tenant=PLATFORM)
    assert (await harness.deliver("operations/sweep_sagas", tick)).status == 204
    await harness.run_events()


async def test_the_charge_of_an_overdue_deposit_is_requested_again(harness: Harness, rail: RecordingRail) -> None:
    """The charge is requested again under the same txid a bounded number of times, and a much later payment is still
    credited."""
    account = await harness.account()
    made = await deposit(harness, account["id"])
    await harness.run_events()
    attempts = harness.runtime.settings.saga_attempts
    for _ in range(attempts + 5):
        await overdue(harness)
    assert len(rail.requested) == attempts + 1
    assert len(set(rail.requested)) == 1
    assert await status(harness, made["id"]) == "created"
    await callback(harness, report(rail.requested[0][0]))
    await harness.run_events()
    assert await status(harness, made["id"]) == "settled"


async def test_a_paid_deposit_whose_event_was_lost_is_posted(harness: Harness, rail: RecordingRail) -> None:
    """The transfer of a paid deposit is requested again without another charge, and is recorded once."""
    account = await harness.account()
    made = await deposit(harness, account["id"])
    await harness.run_events()
    await callback(harness, report(rail.requested[0][0]))
    harness._routed = len(harness.events)
    await overdue(harness)
    assert await status(harness, made["id"]) == "settled"
    assert await harness.balance(account["id"]) == (1050, 0, 1050)
    assert len(rail.requested) == 1
    await overdue(harness)
    assert await harness.balance(account["id"]) == (1050, 0, 1050)


async def test_a_late_overdue_fact_requests_no_charge(harness: Harness, rail: RecordingRail) -> None:
    """`saga.overdue` about an earlier attempt, or about a deposit that has settled, changes nothing."""
    account = await harness.account()
    made = await deposit(harness, account["id"])
    await harness.run_events()
    await overdue(harness)
    assert len(rail.requested) == 2
    for attempt in (1, 2):
        fact = SagaOverdue(saga_id=made["id"], saga_type="deposit", step="created", attempt=attempt)
        assert (await harness.deliver("providers/request_charge", harness.envelope(fact))).status == 204
        assert len(rail.requested) == (2 if attempt == 1 else 3)
    await callback(harness, report(rail.requested[0][0]))
    await harness.run_events()
    stored = await harness.documents.get(DEPOSITS, "acme", made["id"])
    assert stored is not None
    fact = SagaOverdue(saga_id=made["id"], saga_type="deposit", step="created", attempt=stored["attempt"])
    assert (await harness.deliver("providers/request_charge", harness.envelope(fact))).status == 204
    assert await harness.documents.get(DEPOSITS, "acme", made["id"]) == stored
    assert (stored["status"], len(rail.requested)) == ("settled", 3)


async def test_another_tenants_deposit_is_not_found(harness: Harness) -> None:
    """Another tenant's deposit is answered with 404, and a deposit to its account as to an unknown one."""
    account = await harness.account()
    made = await deposit(harness, account["id"])
    await harness.tenant("other")
    answer = await harness.call("GET", f"/v1/deposits/{made['id']}", tenant="other")
    assert (answer.status, answer.code) == (404, "not_found")
    body = {"account_id": account["id"], "amount": {"value": 1, "currency": "BRL"}, "method": "pix"}
    answer = await harness.call("POST", "/v1/deposits", body, tenant="other")
    assert (answer.status, answer.code) == (422, "unknown_reference")
    assert await harness.documents.get(DEPOSITS, "other", made["id"]) is None
