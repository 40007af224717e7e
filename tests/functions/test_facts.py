"""Facts whose content other tests do not compare: who is named, and how often each is published."""

from __future__ import annotations

from typing import Any

import pytest

from events.deposits import DepositCreated, DepositFailed
from events.rail_payments import PixPaymentConfirmed, PixPaymentRefused, PixPaymentSent
from events.webhooks import WebhookDeliveryDue
from tests.functions.payments.test_rail_payments import ordered, payer_with
from tests.functions.providers.rail import callback, deposit, payment_callback, report, with_payments, with_rail
from tests.functions.webhooks.hooks import endpoint
from tests.harness import Harness


async def test_a_deposit_is_published_when_it_is_made_and_when_it_fails(harness: Harness) -> None:
    """A deposit publishes its creation once, and its failure once when its account was blocked before it is paid."""
    await with_rail(harness)
    account = await harness.account()
    made = await deposit(harness, account["id"], 500)
    await harness.run_events(times=2)
    [created] = harness.events_of(DepositCreated)
    assert (created.deposit_id, created.amount.value) == (made["id"], 500)
    blocked = await harness.call("POST", f"/v1/accounts/{account['id']}/block", {"mode": "all"})
    assert blocked.status == 200
    rail: Any = harness.runtime.rails["pix"]
    await callback(harness, report(rail.requested[-1][0], 500, "E99999004202601010000aaaaaaaaaa1"))
    await harness.run_events(times=2)
    [failed] = harness.events_of(DepositFailed)
    assert (failed.deposit_id, failed.failure.code) == (made["id"], "account_blocked")


@pytest.mark.parametrize("outcome", ["settled", "refused"])
async def test_an_order_to_a_provider_is_published_with_its_outcome(harness: Harness, outcome: Any) -> None:
    """A payment by PIX publishes that the provider has it, and once that it was made or refused."""
    provider = await with_payments(harness)
    payment_id = await ordered(harness, await payer_with(harness))
    [sent] = harness.events_of(PixPaymentSent)
    assert sent.payment_id == payment_id
    await payment_callback(harness, provider.decide(outcome))
    await payment_callback(harness, provider.decide(outcome))
    await harness.run_events()
    confirmed, refused = harness.events_of(PixPaymentConfirmed), harness.events_of(PixPaymentRefused)
    assert [fact.payment_id for fact in (confirmed if outcome == "settled" else refused)] == [payment_id]
    assert (len(confirmed), len(refused)) == ((1, 0) if outcome == "settled" else (0, 1))


async def test_a_delivery_to_a_webhook_is_due_once(harness: Harness) -> None:
    """Each event that an endpoint wants becomes one delivery, which is published as due, however often the event is
    delivered."""
    made = await endpoint(harness, "https://hooks.example.com/", "lastro.account.opened.v1")
    await harness.account()
    for _ in range(3):
        await harness.step("webhooks/dispatch")
    due = harness.events_of(WebhookDeliveryDue)
    assert {(fact.endpoint_id, fact.event_type) for fact in due} == {(made["id"], "lastro.account.opened.v1")}
    assert len({fact.delivery_id for fact in due}) == 1


async def test_a_user_is_activated_from_suspended(harness: Harness) -> None:
    """`POST /v1/users/{id}/activate` makes a suspended user active, and refuses an active one."""
    user = await harness.user()
    assert (await harness.call("POST", f"/v1/users/{user['id']}/activate")).code == "illegal_state"
    await harness.call("POST", f"/v1/users/{user['id']}/suspend")
    activated = await harness.call("POST", f"/v1/users/{user['id']}/activate")
    assert (activated.status, activated.json["status"]) == (200, "active")
