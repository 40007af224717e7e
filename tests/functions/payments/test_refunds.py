"""Refunds are partial and repeated, never exceed the captured amount, and are never lost."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from events.holds import FundsHeld
from events.refunds import RefundCreated, RefundPostingRequested
from shared.records.accounts import ACCOUNTS
from shared.records.payments import PAYMENTS
from tests.functions.payments.story import Story, money, put, story
from tests.harness import Harness


async def refunded(begun: Story, payment_id: str) -> int:
    """Return the refunded amount of the payment."""
    return int((await begun.harness.payment(payment_id))["amount_refunded"]["value"])


async def test_a_refund_without_an_amount_returns_everything(harness: Harness) -> None:
    """A refund without an amount returns the captured amount; the payment stays settled and shows the refunded
    amount."""
    begun = await story(harness)
    payment_id = await begun.paid(1000)
    answer = await begun.act(payment_id, "refunds", {"reason": "broken"})
    refund = answer.json
    assert answer.status == 201
    assert answer.headers["location"] == f"/v1/refunds/{refund['id']}"
    assert (refund["status"], refund["reason"], refund["failure"]) == ("created", "broken", None)
    await harness.run_events()
    assert (await harness.call("GET", f"/v1/refunds/{refund['id']}")).json["status"] == "settled"
    assert await begun.status(payment_id) == "settled"
    assert await refunded(begun, payment_id) == 1000
    assert await begun.balances() == ((10_000, 0), (0, 0))


async def test_a_refund_requests_its_transfer_when_its_funds_are_held(harness: Harness) -> None:
    """`account.funds_held` makes the refund `processing` and publishes one `refund.posting_requested`."""
    begun = await story(harness)
    payment_id = await begun.paid(1000)
    refund = (await begun.act(payment_id, "refunds", {})).json
    [requested] = [envelope for envelope in harness.events if envelope.type == RefundCreated.type]
    assert (await harness.deliver("accounts/hold_funds", requested)).status == 204
    [held] = [envelope for envelope in harness.events if envelope.extensions.get("causetype") == "refund"]
    assert (await harness.deliver("payments/request_refund_posting", held)).status == 204
    [order] = harness.events_of(RefundPostingRequested)
    assert (order.refund_id, order.amount.value, order.attempt) == (refund["id"], 1000, 1)
    assert (await harness.call("GET", f"/v1/refunds/{refund['id']}")).json["status"] == "processing"


async def test_an_ended_refund_requests_no_transfer(harness: Harness) -> None:
    """`account.funds_held` for a refund that has settled or failed changes nothing."""
    begun = await story(harness)
    payment_id = await begun.paid(1000)
    await begun.act(payment_id, "refunds", {})
    await harness.run_events()
    [held] = [fact for fact in harness.events_of(FundsHeld) if fact.cause_type == "refund"]
    late = harness.envelope(held)
    assert (await harness.deliver("payments/request_refund_posting", late)).status == 204
    assert len(harness.events_of(RefundPostingRequested)) == 1


async def test_refunds_are_partial_and_repeated_until_nothing_is_left(harness: Harness) -> None:
    """Refunds reach the captured amount together, and a refund of one centavo more is refused."""
    begun = await story(harness)
    payment_id = await begun.authorized(1000)
    await begun.act(payment_id, "capture", money(700))
    await harness.run_events()
    for value in (300, 200):
        assert (await begun.refund(payment_id, value)).status == 201
        await harness.run_events()
    exceeding = await begun.refund(payment_id, 201)
    assert (exceeding.status, exceeding.code) == (422, "amount_exceeds_refundable")
    assert (await begun.refund(payment_id)).json["amount"]["value"] == 200
    await harness.run_events()
    assert await refunded(begun, payment_id) == 700
    nothing_left = await begun.refund(payment_id)
    assert (nothing_left.status, nothing_left.code) == (422, "amount_exceeds_refundable")
    assert await begun.balances() == ((10_000, 0), (0, 0))
    listed = (await harness.call("GET", f"/v1/payments/{payment_id}/refunds", query="limit=2")).json
    assert [refund["amount"]["value"] for refund in listed["data"]] == [200, 200]
    rest = (
        await harness.call("GET", f"/v1/payments/{payment_id}/refunds", query=f"cursor={listed['next_cursor']}")
    ).json
    assert [refund["amount"]["value"] for refund in rest["data"]] == [300]


async def test_refunds_in_progress_count_before_they_settle(harness: Harness) -> None:
    """The amount of a refund in progress cannot be refunded again."""
    begun = await story(harness)
    payment_id = await begun.paid(1000)
    assert (await begun.refund(payment_id, 600)).status == 201
    assert (await begun.refund(payment_id, 500)).code == "amount_exceeds_refundable"
    assert (await begun.refund(payment_id, 400)).status == 201


async def test_many_refunds_at_once_do_not_exceed_what_was_captured(crowded: Harness) -> None:
    """Of twenty concurrent refunds of 1.00 of a payment of 5.00, exactly five are accepted."""
    begun = await story(crowded)
    payment_id = await begun.paid(500)
    answers = await asyncio.gather(*(begun.refund(payment_id, 100) for _ in range(20)))
    statuses = [answer.status for answer in answers]
    taken = statuses.count(201)
    # A request that meets too many version conflicts is answered with 503 and has no effect; it is sent again below.
    assert set(statuses) <= {201, 422, 503}
    while taken < 5:
        taken += (await begun.refund(payment_id, 100)).status == 201
    assert (await begun.refund(payment_id, 100)).status == 422
    await crowded.run_events(together=True, times=2, shuffled=True)
    assert await refunded(begun, payment_id) == 500
    assert await begun.balances() == ((10_000, 0), (0, 0))


@pytest.mark.parametrize("drained", ["insufficient_funds", "account_blocked", "account_closed"])
async def test_a_refund_that_the_payee_cannot_fund_fails(harness: Harness, drained: str) -> None:
    """A refund without funds fails without an HTTP error, and its amount can be refunded later."""
    begun = await story(harness)
    payment_id = await begun.paid(1000)
    if drained == "insufficient_funds":
        await harness.pay(begun.payee, begun.payer, 600)
        await harness.run_events()
    elif drained == "account_blocked":
        await put(harness, ACCOUNTS, begun.payee, status="blocked", block_mode="debits")
    else:
        await put(harness, ACCOUNTS, begun.payee, status="closed")
    refund = (await begun.refund(payment_id)).json
    await harness.run_events()
    ended = (await harness.call("GET", f"/v1/refunds/{refund['id']}")).json
    assert (ended["status"], ended["failure"]["code"]) == ("failed", drained)
    assert await refunded(begun, payment_id) == 0
    if drained == "insufficient_funds":
        assert (await begun.refund(payment_id, 400)).status == 201
        await harness.run_events()
        assert await refunded(begun, payment_id) == 400
        assert (await begun.balances())[1] == (0, 0)


async def test_a_refund_that_the_ledger_refuses_releases_its_hold(harness: Harness) -> None:
    """A refund whose transfer is requested after its deadline fails, and its hold is released."""
    begun = await story(harness)
    payment_id = await begun.paid(1000)
    refund = (await begun.refund(payment_id)).json
    harness.clock.advance(timedelta(hours=1))
    await harness.run_events()
    ended = (await harness.call("GET", f"/v1/refunds/{refund['id']}")).json
    assert (ended["status"], ended["failure"]["code"]) == ("failed", "deadline_passed")
    assert await begun.balances() == ((9000, 0), (1000, 0))


async def test_a_refund_in_another_currency_is_refused(harness: Harness) -> None:
    """A refund in another currency than the payment's is refused."""
    begun = await story(harness)
    payment_id = await begun.paid(1000)
    answer = await begun.act(payment_id, "refunds", money(100, "USD"))
    assert (answer.status, answer.code) == (422, "currency_mismatch")


async def test_every_event_twice_and_in_any_order_refunds_once(harness: Harness) -> None:
    """A refund whose events are delivered twice and out of order has the same effect as with ordered deliveries."""
    begun = await story(harness)
    payment_id = await begun.paid(1000)
    await begun.refund(payment_id, 250)
    await harness.run_events(times=3, shuffled=True)
    await harness.replay_all()
    assert len(harness.events_of(RefundCreated)) == 1
    stored = await harness.documents.get(PAYMENTS, "acme", payment_id)
    assert stored is not None
    assert (stored["amount_refunded"], stored["amount_refunding"]) == (250, 0)
    assert await begun.balances() == ((9250, 0), (750, 0))


async def test_another_tenants_refund_is_not_found(harness: Harness) -> None:
    """The id of another tenant's resource is answered as an unknown id."""
    begun = await story(harness)
    refund = (await begun.refund(await begun.paid(1000))).json
    await harness.tenant("other")
    answer = await harness.call("GET", f"/v1/refunds/{refund['id']}", tenant="other")
    assert (answer.status, answer.code) == (404, "not_found")
