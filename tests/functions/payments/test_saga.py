"""An overdue step is retried, or the payment expires where that is safe, with or without the cache."""

from __future__ import annotations

from datetime import timedelta

import pytest

from events.ledger import TransferPosted
from events.payments.capture_requested import PaymentCaptureRequested
from events.payments.created import PaymentCreated
from events.refunds import RefundCreated, RefundPostingRequested
from events.sweeps import SagaOverdue, Tick
from shared.core.envelope import Envelope
from shared.ports.documents import PLATFORM
from shared.records.payments import PAYMENTS
from tests.functions.payments.story import Story, story
from tests.harness import Harness

STEP = timedelta(seconds=30)


async def sweep(harness: Harness) -> int:
    """Deliver one tick to the sweep without the events that follow, and return the number of facts that it
    published."""
    before = len(harness.events)
    tick = harness.envelope(Tick(schedule="sweep_sagas"), tenant=PLATFORM)
    assert (await harness.deliver("operations/sweep_sagas", tick)).status == 204
    return len(harness.events) - before


def lose_what_is_pending(harness: Harness) -> list[Envelope]:
    """Remove the pending events and return them."""
    lost = harness.events[harness._routed :]
    harness._routed = len(harness.events)
    return lost


@pytest.fixture(params=["cache", "no cache"])
async def begun(harness: Harness, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Story:
    """A story whose cache loses everything before each sweep, and one whose cache does not."""
    if request.param == "no cache":

        async def forget(*_: object) -> None:
            return None

        monkeypatch.setattr(harness.runtime.cache, "schedule", forget)
    return await story(harness)


async def test_a_payment_whose_first_event_was_lost_is_continued(begun: Story) -> None:
    """After the step's deadline the hold is requested again, and the payment settles."""
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
    assert await sweep(harness) == 0, "ended payments are not examined again"


async def test_an_overdue_attempt_is_published_as_one_fact(begun: Story) -> None:
    """Two sweeps that find the same attempt publish one event id, and the payment is retried once."""
    harness = begun.harness
    payment = await harness.pay(begun.payer, begun.payee, 1000)
    lose_what_is_pending(harness)
    harness.clock.advance(STEP * 2)
    for _ in range(3):
        await sweep(harness)
    published = [event for event in harness.events if event.type == SagaOverdue.type]
    assert len({event.id for event in published}) == 1
    await harness.run_events(times=2)
    assert len(harness.events_of(PaymentCreated)) == 2
    assert await begun.status(payment["id"]) == "settled"


async def test_a_lost_transfer_posted_event_is_published_again(begun: Story) -> None:
    """When `transfer_posted` is lost, the retried request publishes the recorded transfer, and accounts apply it
    once."""
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


async def test_a_lost_capture_request_fails_after_its_deadline(begun: Story) -> None:
    """A payment whose transfer was never recorded fails only when the ledger refuses it, which it does only after the
    deadline."""
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


async def test_a_payment_without_a_hold_expires_after_the_last_attempt(begun: Story) -> None:
    """A payment without a hold expires after the last attempt, and a hold request that is delivered later holds
    nothing."""
    harness = begun.harness
    payment = await harness.pay(begun.payer, begun.payee, 1000)
    hold_request = lose_what_is_pending(harness)[-1]
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
    assert (await harness.deliver("accounts/hold_funds", hold_request)).status == 204
    await harness.run_events()
    assert await begun.balances() == ((10_000, 0), (0, 0))


async def test_a_refund_whose_event_was_lost_is_continued(begun: Story) -> None:
    """A refund whose event was lost is requested again and settles once, with its original transfer id."""
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


async def test_a_refund_whose_posting_request_was_lost_is_continued(begun: Story) -> None:
    """A refund whose funds are held and whose posting request was lost requests its transfer again and settles once."""
    harness = begun.harness
    payment_id = await begun.paid(1000)
    await begun.refund(payment_id, 400)
    for operation in ("accounts/hold_funds", "payments/request_refund_posting"):
        assert (await harness.deliver(operation, harness.events[-1])).status == 204
    lose_what_is_pending(harness)
    harness.clock.advance(STEP * 2)
    assert await sweep(harness) == 1
    await harness.run_events(times=2)
    requested = harness.events_of(RefundPostingRequested)
    assert [event.attempt for event in requested] == [1, 2]
    assert len({event.transfer_id for event in requested}) == 1
    assert await begun.balances() == ((9400, 0), (600, 0))


async def test_an_authorized_payment_is_not_overdue(begun: Story) -> None:
    """A payment that waits for a manual capture is not overdue until its authorization expires."""
    await begun.authorized(1000)
    begun.harness.clock.advance(timedelta(days=1))
    assert await sweep(begun.harness) == 0


async def test_a_late_overdue_fact_changes_nothing(harness: Harness) -> None:
    """`saga.overdue` about an earlier step or attempt does not change the payment."""
    begun = await story(harness)
    payment_id = await begun.paid(1000)
    before = await harness.documents.get(PAYMENTS, "acme", payment_id)
    for step, attempt in (("created", 1), ("capturing", 1), ("settled", 7)):
        overdue = SagaOverdue(saga_id=payment_id, saga_type="payment", step=step, attempt=attempt)
        delivery = await harness.deliver("payments/request_capture", harness.envelope(overdue))
        assert delivery.status == 204
    assert await harness.documents.get(PAYMENTS, "acme", payment_id) == before


async def test_one_tick_publishes_more_overdue_payments_than_a_page(harness: Harness) -> None:
    """One tick publishes every overdue payment of every tenant, over several pages."""
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
    published = lose_what_is_pending(harness)
    assert [event.tenant_id for event in published].count("other") == 1
    assert all(event.partition_key.startswith(f"{event.tenant_id}/") for event in published)
