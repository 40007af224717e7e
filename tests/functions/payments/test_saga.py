"""What has not got on in time is driven forward, or given up where that is safe; with or without the cache."""

from __future__ import annotations

from datetime import timedelta

import pytest

from events.ledger import TransferPosted
from events.payments.capture_requested import PaymentCaptureRequested
from events.payments.created import PaymentCreated
from events.refunds import RefundCreated
from events.sweeps import SagaOverdue, Tick
from shared.core.envelope import Envelope
from shared.ports.documents import PLATFORM
from shared.records.payments import PAYMENTS
from tests.functions.payments.story import Story, story
from tests.harness import Harness

STEP = timedelta(seconds=30)


async def sweep(harness: Harness) -> int:
    """One turn of the sweep, without what follows; how many facts it told."""
    before = len(harness.events)
    tick = harness.envelope(Tick(schedule="sweep_sagas"), tenant=PLATFORM)
    assert (await harness.deliver("operations/sweep_sagas", tick)).status == 204
    return len(harness.events) - before


def lose_what_is_pending(harness: Harness) -> list[Envelope]:
    """Let the pending events never arrive; which they were."""
    lost = harness.events[harness._routed :]
    harness._routed = len(harness.events)
    return lost


@pytest.fixture(params=["cache", "no cache"])
async def begun(harness: Harness, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Story:
    """A story whose cache forgets everything before each sweep, and one whose cache does not."""
    if request.param == "no cache":

        async def forget(*_: object) -> None:
            return None

        monkeypatch.setattr(harness.runtime.cache, "schedule", forget)
    return await story(harness)


async def test_a_payment_whose_first_event_was_lost_is_asked_for_again(begun: Story) -> None:
    """After a step's time the hold is asked for once more, and the payment runs to its end."""
    harness = begun.harness
    payment = await harness.pay(begun.payer, begun.payee, 1000)
    lose_what_is_pending(harness)
    harness.clock.advance(STEP)
    assert await sweep(harness) == 0, "the time is not over yet"
    harness.clock.advance(timedelta(seconds=1))
    assert await sweep(harness) == 1
    await harness.run_events()
    assert await begun.status(payment["id"]) == "settled"
    assert [event.attempt for event in harness.events_of(PaymentCreated)] == [1, 2]
    assert await begun.balances() == ((9000, 0), (1000, 0))
    harness.clock.advance(timedelta(days=1))
    assert await sweep(harness) == 0, "what has ended is not looked at again"


async def test_one_attempt_is_told_as_one_fact_however_often_a_sweep_finds_it(begun: Story) -> None:
    """Sweeps that overlap do not drive a payment twice."""
    harness = begun.harness
    payment = await harness.pay(begun.payer, begun.payee, 1000)
    lose_what_is_pending(harness)
    harness.clock.advance(STEP * 2)
    for _ in range(3):
        await sweep(harness)
    told = [event for event in harness.events if event.type == SagaOverdue.type]
    assert len({event.id for event in told}) == 1
    await harness.run_events(times=2)
    assert len(harness.events_of(PaymentCreated)) == 2
    assert await begun.status(payment["id"]) == "settled"


async def test_a_posted_transfer_whose_news_was_lost_settles_the_payment_once(begun: Story) -> None:
    """The ledger answers the repeated request with what it has, and balances grow by it once."""
    harness = begun.harness
    payment_id = await begun.authorized(1000)
    await begun.act(payment_id, "capture")
    request = lose_what_is_pending(harness)[-1]
    assert (await harness.deliver("ledger/post_transfer", request)).status == 204
    news = lose_what_is_pending(harness)[-1]
    assert (await harness.deliver("accounts/apply_transfer", news)).status == 204
    lose_what_is_pending(harness)
    assert await begun.status(payment_id) == "capturing"
    harness.clock.advance(timedelta(hours=1))
    await sweep(harness)
    await harness.run_events(times=2)
    assert await begun.status(payment_id) == "settled", "late is not failed: the ledger has it"
    assert await begun.balances() == ((9000, 0), (1000, 0))
    assert len({event.transfer_id for event in harness.events_of(TransferPosted)}) == 2


async def test_a_capture_that_the_ledger_never_saw_fails_after_its_deadline(begun: Story) -> None:
    """Only the ledger may say so, and it says so only when the deadline has passed."""
    harness = begun.harness
    payment_id = await begun.authorized(1000)
    await begun.act(payment_id, "capture")
    lose_what_is_pending(harness)
    harness.clock.advance(timedelta(seconds=301))
    await sweep(harness)
    await harness.run_events()
    assert await begun.status(payment_id) == "failed"
    assert await begun.balances() == ((10_000, 0), (0, 0))
    requests = harness.events_of(PaymentCaptureRequested)
    assert len({(event.transfer_id, event.deadline) for event in requests}) == 1


async def test_a_hold_that_never_comes_is_given_up_after_the_last_attempt(begun: Story) -> None:
    """The payment expires; a hold that comes later all the same finds that nobody waits for it."""
    harness = begun.harness
    payment = await harness.pay(begun.payer, begun.payee, 1000)
    wish = lose_what_is_pending(harness)[-1]
    for _ in range(harness.runtime.settings.saga_attempts):
        harness.clock.advance(timedelta(minutes=6))
        assert await sweep(harness) == 1
        overdue = lose_what_is_pending(harness)[-1]
        assert (await harness.deliver("payments/request_capture", overdue)).status == 204
        if await begun.status(payment["id"]) == "created":
            lose_what_is_pending(harness)
    await harness.run_events()
    expired = await harness.payment(payment["id"])
    assert (expired["status"], expired["failure"]["code"]) == ("expired", "hold_timed_out")
    assert (await harness.deliver("accounts/hold_funds", wish)).status == 204
    await harness.run_events()
    assert await begun.balances() == ((10_000, 0), (0, 0))


async def test_a_refund_whose_event_was_lost_is_asked_for_again(begun: Story) -> None:
    """It settles once, under the transfer id that it had from the beginning."""
    harness = begun.harness
    payment_id = await begun.paid(1000)
    await begun.refund(payment_id, 400)
    lose_what_is_pending(harness)
    harness.clock.advance(STEP * 2)
    assert await sweep(harness) == 1
    await harness.run_events(times=2)
    assert [event.attempt for event in harness.events_of(RefundCreated)] == [1, 2]
    assert len({event.transfer_id for event in harness.events_of(RefundCreated)}) == 1
    assert await begun.balances() == ((9400, 0), (600, 0))


async def test_a_payment_that_waits_for_its_caller_is_not_overdue(begun: Story) -> None:
    """An authorization awaits a manual capture for as long as it lasts."""
    await begun.authorized(1000)
    begun.harness.clock.advance(timedelta(days=1))
    assert await sweep(begun.harness) == 0


async def test_an_overdue_fact_that_comes_late_changes_nothing(harness: Harness) -> None:
    """A payment that has got on since is left alone."""
    begun = await story(harness)
    payment_id = await begun.paid(1000)
    before = await harness.documents.get(PAYMENTS, "acme", payment_id)
    for step, attempt in (("created", 1), ("capturing", 1), ("settled", 7)):
        overdue = SagaOverdue(saga_id=payment_id, saga_type="payment", step=step, attempt=attempt)
        delivery = await harness.deliver("payments/request_capture", harness.envelope(overdue))
        assert delivery.status == 204
    assert await harness.documents.get(PAYMENTS, "acme", payment_id) == before


async def test_more_overdue_payments_than_a_batch_are_all_told_of_in_one_turn(harness: Harness) -> None:
    """A batch that cannot get on does not hide those behind it; each tenant's are its own."""
    await harness.tenant("other")
    begun = await story(harness)
    payer, payee = await harness.account(10_000, tenant="other"), await harness.account(tenant="other")
    count = harness.runtime.settings.sweep_batch + 5
    for _ in range(count):
        await harness.pay(begun.payer, begun.payee, 1)
    await harness.pay(payer["id"], payee["id"], 1, tenant="other")
    lose_what_is_pending(harness)
    await harness.runtime.cache.clear()
    harness.clock.advance(STEP * 2)
    assert await sweep(harness) == count + 1
    told = lose_what_is_pending(harness)
    assert [event.tenant_id for event in told].count("other") == 1
    assert all(event.partition_key.startswith(f"{event.tenant_id}/") for event in told)
