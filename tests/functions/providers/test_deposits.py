"""Deposits: asked for at the rail, settled when the ledger has the money; what is unknown is never taken for failed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from events.sweeps import Tick
from shared.ports.documents import PLATFORM, Unavailable
from shared.ports.rail import RailRefused
from shared.records.accounts import ACCOUNTS
from shared.records.deposits import DEPOSITS
from tests.functions.payments.story import put
from tests.functions.providers.rail import NotingRail, callback, deposit, report, with_rail
from tests.harness import Harness


@pytest.fixture
async def rail(harness: Harness) -> NotingRail:
    """The rail of the harness."""
    return await with_rail(harness)


async def status(harness: Harness, deposit_id: str) -> str:
    """The deposit's status."""
    return str((await harness.call("GET", f"/v1/deposits/{deposit_id}")).json["status"])


async def test_a_deposit_is_charged_reported_posted_and_settled(harness: Harness, rail: NotingRail) -> None:
    """The rail is asked once under a txid of its form, and the money is on the account."""
    account = await harness.account()
    made = await deposit(harness, account["id"])
    assert (made["status"], made["failure"], made["method"]) == ("created", None, "pix")
    await harness.run_events(times=2)
    ((txid, amount, currency, url),) = set(rail.asked)
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
async def test_what_a_deposit_cannot_be_is_refused(
    harness: Harness, change: dict[str, Any], code: str, pointer: str
) -> None:
    """Each refusal is 422 with its code and points at the field."""
    account = await harness.account()
    body = {"account_id": account["id"], "amount": {"value": 1, "currency": "BRL"}, "method": "pix", **change}
    answer = await harness.call("POST", "/v1/deposits", body)
    assert (answer.status, answer.code) == (422, code)
    assert answer.json["errors"][0]["pointer"] == pointer


async def test_pix_does_not_pay_into_an_account_in_another_currency(harness: Harness) -> None:
    """The account's currency is looked at as well as the amount's."""
    account = await harness.account(currency="USD")
    body = {"account_id": account["id"], "amount": {"value": 1, "currency": "BRL"}, "method": "pix"}
    answer = await harness.call("POST", "/v1/deposits", body)
    assert (answer.status, answer.code) == (422, "currency_mismatch")


async def test_a_closed_account_is_refused_and_one_blocked_for_all_fails_the_deposit(
    harness: Harness, rail: NotingRail
) -> None:
    """Closed is an HTTP error; blocked is the deposit's outcome, and the rail is not asked."""
    account = await harness.account()
    await put(harness, ACCOUNTS, account["id"], status="blocked", block_mode="all")
    made = await deposit(harness, account["id"])
    await harness.run_events()
    ended = (await harness.call("GET", f"/v1/deposits/{made['id']}")).json
    assert (ended["status"], ended["failure"]["code"], rail.asked) == ("failed", "account_blocked", [])
    await put(harness, ACCOUNTS, account["id"], status="closed")
    body = {"account_id": account["id"], "amount": {"value": 1, "currency": "BRL"}, "method": "pix"}
    answer = await harness.call("POST", "/v1/deposits", body)
    assert (answer.status, answer.code) == (422, "account_closed")


async def test_an_account_blocked_for_debits_takes_deposits(harness: Harness, rail: NotingRail) -> None:
    """Money may come in where it may not go out."""
    account = await harness.account()
    await put(harness, ACCOUNTS, account["id"], status="blocked", block_mode="debits")
    await deposit(harness, account["id"])
    await harness.run_events()
    await callback(harness, report(rail.asked[0][0]))
    await harness.run_events()
    assert (await harness.balance(account["id"]))[0] == 1050


async def test_a_rail_that_does_not_answer_leaves_the_outcome_open(harness: Harness, rail: NotingRail) -> None:
    """The event is delivered again until the rail answers; the deposit has not failed, and its callback counts."""
    account = await harness.account()
    rail.outcome = Unavailable("timeout")
    made = await deposit(harness, account["id"])
    created = harness.events[-1]
    delivery = await harness.deliver("providers/request_charge", created)
    assert (delivery.status, delivery.headers["Kne-Code"]) == (503, "dependency_unavailable")
    assert await status(harness, made["id"]) == "created"
    await callback(harness, report(rail.asked[0][0]))
    await harness.run_events()
    assert await status(harness, made["id"]) == "settled"
    rail.outcome = None
    assert (await harness.deliver("providers/request_charge", created)).status == 204
    assert len({reference for reference, *_ in rail.asked}) == 1


async def test_a_platform_without_a_rail_answers_that_it_is_not_there(harness: Harness) -> None:
    """The event waits for the rail to be set up."""
    account = await harness.account()
    await deposit(harness, account["id"])
    assert (await harness.deliver("providers/request_charge", harness.events[-1])).status == 503


async def test_a_charge_that_the_rail_refuses_fails_the_deposit(harness: Harness, rail: NotingRail) -> None:
    """A refusal is certain: nothing will come of it."""
    account = await harness.account()
    rail.outcome = RailRefused("CobOperacaoInvalida", "The key is not yours.")
    made = await deposit(harness, account["id"])
    await harness.run_events()
    ended = (await harness.call("GET", f"/v1/deposits/{made['id']}")).json
    assert (ended["status"], ended["failure"]["code"]) == ("failed", "provider_refused")
    assert "CobOperacaoInvalida" in ended["failure"]["detail"]


async def overdue(harness: Harness) -> None:
    """Let an hour pass, and the sweep and what follows have their turn."""
    harness.clock.advance(timedelta(hours=1))
    tick = harness.envelope(Tick(schedule="sweep_sagas"), tenant=PLATFORM)
    assert (await harness.deliver("operations/sweep_sagas", tick)).status == 204
    await harness.run_events()


async def test_an_overdue_deposit_is_asked_for_again_and_then_left_to_its_callback(
    harness: Harness, rail: NotingRail
) -> None:
    """The rail is asked under the same txid a bounded number of times; money that comes much later still counts."""
    account = await harness.account()
    made = await deposit(harness, account["id"])
    await harness.run_events()
    attempts = harness.runtime.settings.saga_attempts
    for _ in range(attempts + 5):
        await overdue(harness)
    assert len(rail.asked) == attempts + 1
    assert len(set(rail.asked)) == 1
    assert await status(harness, made["id"]) == "created"
    await callback(harness, report(rail.asked[0][0]))
    await harness.run_events()
    assert await status(harness, made["id"]) == "settled"


async def test_a_paid_deposit_whose_event_was_lost_is_posted_after_all(harness: Harness, rail: NotingRail) -> None:
    """The ledger is asked again, not the rail, and the money counts once."""
    account = await harness.account()
    made = await deposit(harness, account["id"])
    await harness.run_events()
    await callback(harness, report(rail.asked[0][0]))
    harness._routed = len(harness.events)
    await overdue(harness)
    assert await status(harness, made["id"]) == "settled"
    assert await harness.balance(account["id"]) == (1050, 0, 1050)
    assert len(rail.asked) == 1
    await overdue(harness)
    assert await harness.balance(account["id"]) == (1050, 0, 1050)


async def test_another_tenants_deposit_is_not_found(harness: Harness) -> None:
    """Its id looks like one that does not exist, and its account like an unknown one."""
    account = await harness.account()
    made = await deposit(harness, account["id"])
    await harness.tenant("other")
    answer = await harness.call("GET", f"/v1/deposits/{made['id']}", tenant="other")
    assert (answer.status, answer.code) == (404, "not_found")
    body = {"account_id": account["id"], "amount": {"value": 1, "currency": "BRL"}, "method": "pix"}
    answer = await harness.call("POST", "/v1/deposits", body, tenant="other")
    assert (answer.status, answer.code) == (422, "unknown_reference")
    assert await harness.documents.get(DEPOSITS, "other", made["id"]) is None
