"""Captures, cancellations, expiries and failures have one effect each and leave no hold."""

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
    """Deliver a schedule's tick and all events that follow."""
    delivery = await harness.deliver(f"operations/{sweep}", harness.envelope(Tick(schedule=sweep), tenant=PLATFORM))
    assert delivery.status == 204
    await harness.run_events()


async def test_a_manual_capture_takes_the_authorized_amount(harness: Harness) -> None:
    """A capture without an amount captures the whole authorized amount, and the payment settles."""
    begun = await story(harness)
    payment_id = await begun.authorized(1000)
    assert await begun.balances() == ((10_000, 1000), (0, 0))
    answer = await begun.act(payment_id, "capture")
    assert (answer.status, answer.json["status"]) == (200, "capturing")
    await harness.run_events()
    assert await begun.status(payment_id) == "settled"
    assert await begun.balances() == ((9000, 0), (1000, 0))


async def test_a_partial_capture_releases_the_rest_of_the_hold(harness: Harness) -> None:
    """The uncaptured part of the hold is available to the payer again."""
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
async def test_an_invalid_capture_amount_is_refused(harness: Harness, value: int, currency: str, code: str) -> None:
    """A capture of more than the held amount, of another currency or of 0 is answered with 422, and the payment stays
    authorized."""
    begun = await story(harness)
    payment_id = await begun.authorized(1000)
    answer = await begun.act(payment_id, "capture", money(value, currency))
    assert (answer.status, answer.code) == (422, code)
    assert await begun.status(payment_id) == "authorized"


async def test_two_captures_at_once_have_one_effect(crowded: Harness) -> None:
    """Of many concurrent captures one is accepted, the others are refused for the changed status, and one transfer is
    recorded."""
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
    """Whichever of the two is committed first, the balances and the hold agree with the payment's final status."""
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
    """The cancellation of an authorized payment releases its whole hold."""
    begun = await story(harness)
    payment_id = await begun.authorized(1000)
    answer = await begun.act(payment_id, "cancel", {"reason": "changed my mind"})
    assert (answer.status, answer.json["status"]) == (200, "canceled")
    await harness.run_events()
    assert await begun.balances() == ((10_000, 0), (0, 0))


@pytest.mark.parametrize("seed", range(6))
async def test_a_cancellation_before_the_hold_leaves_no_hold(seed: int) -> None:
    """A payment that is canceled before its funds are held leaves no hold, in whatever order the events arrive."""
    harness = Harness.make(seed=seed)
    await harness.tenant()
    begun = await story(harness)
    payment = await harness.pay(begun.payer, begun.payee, 1000)
    assert (await begun.act(payment["id"], "cancel")).status == 200
    await harness.run_events(times=2, shuffled=True)
    assert await begun.status(payment["id"]) == "canceled"
    assert await begun.balances() == ((10_000, 0), (0, 0))


async def test_an_authorization_expires_and_leaves_no_hold(harness: Harness) -> None:
    """The sweep expires an authorization after its time, and a second sweep changes nothing."""
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


async def test_an_expired_authorization_is_not_captured(harness: Harness) -> None:
    """An authorization cannot be captured after its time, also before the sweep has found it."""
    begun = await story(harness)
    payment_id = await begun.authorized(1000, expires_in=60)
    harness.clock.advance(timedelta(seconds=60))
    answer = await begun.act(payment_id, "capture")
    assert (answer.status, answer.code) == (409, "illegal_state")


async def test_a_transfer_that_the_ledger_refuses_fails_the_payment_and_releases_the_hold(harness: Harness) -> None:
    """A transfer that is requested after its deadline is refused, the payment fails, and nothing stays held."""
    begun = await story(harness)
    payment_id = await begun.authorized(1000)
    await begun.act(payment_id, "capture")
    harness.clock.advance(timedelta(hours=1))
    await harness.run_events()
    payment = await harness.payment(payment_id)
    assert (payment["status"], payment["failure"]["code"]) == ("failed", "deadline_passed")
    assert await begun.balances() == ((10_000, 0), (0, 0))


async def test_waiting_for_a_payment_ends_at_its_next_manual_step(harness: Harness) -> None:
    """`Prefer: wait` returns a payment with manual capture when it is authorized, and one with automatic capture when
    it has ended."""
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
    """Of fifty concurrent payments of 1.00 from an account with 10.00, ten settle and forty are declined."""
    begun = await story(crowded, funds=1000)

    async def one(begun: Story) -> str:
        return str((await crowded.pay(begun.payer, begun.payee, 100))["id"])

    ids = await asyncio.gather(*(one(begun) for _ in range(50)))
    await crowded.run_events(together=True, shuffled=True)
    statuses = [await begun.status(payment_id) for payment_id in ids]
    assert (statuses.count("settled"), statuses.count("declined")) == (10, 40)
    assert await begun.balances() == ((0, 0), (1000, 0))
