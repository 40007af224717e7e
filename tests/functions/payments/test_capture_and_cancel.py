"""Captures, cancellations, expiries and failures: one effect each, and no hold is left behind."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from events.holds import FundsReleased
from events.ledger import TransferPosted
from events.payments.capture_requested import PaymentCaptureRequested
from events.sweeps import Tick
from functions.payments import capture as capture_function
from shared.functions.decorators import operation_of
from shared.ports.documents import PLATFORM
from tests.functions.payments.story import Story, money, story
from tests.harness import Harness


async def tick(harness: Harness, sweep: str) -> None:
    """Let a schedule have its turn, and what it finds run its course."""
    delivery = await harness.deliver(f"operations/{sweep}", harness.envelope(Tick(schedule=sweep), tenant=PLATFORM))
    assert delivery.status == 204
    await harness.run_events()


async def test_a_manual_capture_takes_all_of_what_was_authorized(harness: Harness) -> None:
    """Without an amount the whole is captured and the payment settles."""
    begun = await story(harness)
    payment_id = await begun.authorized(1000)
    assert await begun.balances() == ((10_000, 1000), (0, 0))
    answer = await begun.act(payment_id, "capture")
    assert (answer.status, answer.json["status"]) == (200, "capturing")
    await harness.run_events()
    assert await begun.status(payment_id) == "settled"
    assert await begun.balances() == ((9000, 0), (1000, 0))


async def test_a_partial_capture_releases_the_rest_of_the_hold(harness: Harness) -> None:
    """What is not taken is available to the payer again."""
    begun = await story(harness)
    payment_id = await begun.authorized(1000)
    await begun.act(payment_id, "capture", money(400))
    await harness.run_events()
    payment = await harness.payment(payment_id)
    assert (payment["status"], payment["amount_captured"]["value"]) == ("settled", 400)
    assert await begun.balances() == ((9600, 0), (400, 0))
    assert [event.amount.value for event in harness.events_of(FundsReleased)] == [600]


@pytest.mark.parametrize(
    ("value", "currency", "code"),
    [(1001, "BRL", "amount_exceeds_authorized"), (10, "USD", "currency_mismatch"), (0, "BRL", "validation_failed")],
)
async def test_a_capture_of_what_was_not_authorized_is_refused(
    harness: Harness, value: int, currency: str, code: str
) -> None:
    """More than the hold, another currency or nothing at all is 422, and the payment waits on."""
    begun = await story(harness)
    payment_id = await begun.authorized(1000)
    answer = await begun.act(payment_id, "capture", money(value, currency))
    assert (answer.status, answer.code) == (422, code)
    assert await begun.status(payment_id) == "authorized"


async def test_two_captures_at_once_have_one_effect(crowded: Harness) -> None:
    """Of many that start together one is taken, the others find the state changed, and money moves once."""
    begun = await story(crowded)
    payment_id = await begun.authorized(1000)
    answers = await asyncio.gather(*(begun.act(payment_id, "capture", money(100 + n)) for n in range(8)))
    assert sorted(answer.status for answer in answers) == [200] + [409] * 7
    await crowded.run_events(times=2, shuffled=True, together=True)
    payment = await crowded.payment(payment_id)
    assert payment["status"] == "settled"
    assert len(crowded.events_of(PaymentCaptureRequested, payment_id)) == 1
    captured = payment["amount_captured"]["value"]
    assert await begun.balances() == ((10_000 - captured, 0), (captured, 0))


async def test_a_capture_and_a_cancellation_at_once_do_not_both_happen(crowded: Harness) -> None:
    """Whichever comes first, the money and the hold agree with the payment's last state."""
    begun = await story(crowded)
    for number in range(6):
        payment_id = await begun.authorized(100)
        actions = ["capture", "cancel"] if number % 2 else ["cancel", "capture"]
        answers = await asyncio.gather(*(begun.act(payment_id, action) for action in actions))
        assert sorted(answer.status for answer in answers) == [200, 409]
        await crowded.run_events(together=True)
        assert await begun.status(payment_id) in ("settled", "canceled")
    settled = len([e for e in crowded.events_of(TransferPosted) if e.cause_type == "payment"])
    assert await begun.balances() == ((10_000 - 100 * settled, 0), (100 * settled, 0))


async def test_a_canceled_payment_leaves_no_hold(harness: Harness) -> None:
    """An authorized payment that is called off gives the payer everything back."""
    begun = await story(harness)
    payment_id = await begun.authorized(1000)
    answer = await begun.act(payment_id, "cancel", {"reason": "changed my mind"})
    assert (answer.status, answer.json["status"]) == (200, "canceled")
    await harness.run_events()
    assert await begun.balances() == ((10_000, 0), (0, 0))


@pytest.mark.parametrize("seed", range(6))
async def test_a_cancellation_that_overtakes_the_hold_leaves_none(seed: int) -> None:
    """A payment canceled before its funds were held holds nothing, in whatever order the facts arrive."""
    harness = Harness.make(seed=seed)
    await harness.tenant()
    begun = await story(harness)
    payment = await harness.pay(begun.payer, begun.payee, 1000)
    assert (await begun.act(payment["id"], "cancel")).status == 200
    await harness.run_events(times=2, shuffled=True)
    assert await begun.status(payment["id"]) == "canceled"
    assert await begun.balances() == ((10_000, 0), (0, 0))


async def test_an_authorization_expires_and_leaves_no_hold(harness: Harness) -> None:
    """Once its time is over the sweep has it expired; the same sweep again changes nothing."""
    begun = await story(harness)
    payment_id = await begun.authorized(1000, expires_in=3600)
    harness.clock.advance(timedelta(seconds=3599))
    await tick(harness, "expire_holds")
    assert await begun.status(payment_id) == "authorized"
    harness.clock.advance(timedelta(seconds=2))
    await tick(harness, "expire_holds")
    assert await begun.status(payment_id) == "expired"
    assert await begun.balances() == ((10_000, 0), (0, 0))
    events = len(harness.events)
    await tick(harness, "expire_holds")
    assert len(harness.events) == events


async def test_an_authorization_that_has_run_out_is_not_captured(harness: Harness) -> None:
    """The time counts, whether or not a sweep has come by."""
    begun = await story(harness)
    payment_id = await begun.authorized(1000, expires_in=60)
    harness.clock.advance(timedelta(seconds=60))
    answer = await begun.act(payment_id, "capture")
    assert (answer.status, answer.code) == (409, "illegal_state")


async def test_a_transfer_that_the_ledger_refuses_fails_the_payment_and_releases_the_hold(harness: Harness) -> None:
    """The ledger refuses what it is asked for after the deadline; nothing has moved and nothing stays held."""
    begun = await story(harness)
    payment_id = await begun.authorized(1000)
    await begun.act(payment_id, "capture")
    harness.clock.advance(timedelta(hours=1))
    await harness.run_events()
    payment = await harness.payment(payment_id)
    assert (payment["status"], payment["failure"]["code"]) == ("failed", "deadline_passed")
    assert await begun.balances() == ((10_000, 0), (0, 0))


async def test_waiting_for_a_payment_ends_when_nothing_happens_by_itself(harness: Harness) -> None:
    """A manual payment is done when authorized, an automatic one when it has ended."""
    begun = await story(harness)
    operation = operation_of(capture_function.capture)
    assert operation is not None
    for fields, status in (({"capture": "manual"}, "authorized"), ({}, "settled")):
        body = {
            "amount": {"value": 100, "currency": "BRL"},
            "method": "internal",
            "payer_account_id": begun.payer,
            "payee_account_id": begun.payee,
            **fields,
        }
        waiting = asyncio.create_task(harness.call("POST", "/v1/payments", body, headers={"prefer": "wait=5"}))
        while not waiting.done():
            await harness.run_events()
            await asyncio.sleep(0.001)
        answer = waiting.result()
        assert (answer.status, answer.json["status"]) == (201, status)
        assert answer.headers["preference-applied"] == "wait=5"


async def test_fifty_payments_at_once_do_not_overdraw_the_account(crowded: Harness) -> None:
    """Out of 10.00 exactly ten of fifty payments of 1.00 settle, and the rest are declined."""
    begun = await story(crowded, funds=1000)

    async def one(begun: Story) -> str:
        return str((await crowded.pay(begun.payer, begun.payee, 100))["id"])

    ids = await asyncio.gather(*(one(begun) for _ in range(50)))
    await crowded.run_events(together=True, shuffled=True)
    statuses = [await begun.status(payment_id) for payment_id in ids]
    assert (statuses.count("settled"), statuses.count("declined")) == (10, 40)
    assert await begun.balances() == ((0, 0), (1000, 0))
