"""The sweeps, which schedules start."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest

from events.sweeps import HoldExpired, Tick
from shared.context.context import Context, Origin
from shared.context.tenant_work import in_pages, run_in_tenant_unit_of_work, tenant_ids
from shared.core.envelope import Envelope
from shared.core.settings import Settings
from shared.messaging.delivery import Delivery
from shared.ports.documents import PLATFORM, Query, Unavailable, VersionConflict
from shared.records.accounts import ACCOUNTS, AccountDocument
from shared.records.users import USERS
from tests.functions.payments.story import story
from tests.harness import Harness


async def tick(harness: Harness, sweep: str) -> Delivery:
    """Deliver one tick to a sweep, without delivering the events that it publishes."""
    return await harness.deliver(f"operations/{sweep}", harness.envelope(Tick(schedule=sweep), tenant=PLATFORM))


class FlakyBus:
    """A bus that records the published events and can be made unavailable."""

    reads_the_outbox = False

    def __init__(self) -> None:
        self.published: list[str] = []
        self.away = False

    async def publish(self, events: Sequence[Envelope]) -> None:
        if self.away:
            raise Unavailable("no broker")
        self.published += [event.id for event in events]

    async def progress(self, correlation_id: str, timeout_seconds: float) -> bool:
        return True


async def test_events_left_in_the_outbox_are_published_after_the_grace_time(harness: Harness) -> None:
    """Each committed event that was not published is published after the grace time; the others are not published
    again."""
    bus = harness.runtime.bus = FlakyBus()
    begun = await story(harness)
    bus.away, bus.published = True, []
    for _ in range(3):
        await harness.pay(begun.payer, begun.payee, 1)
    left = [event.id for event in harness.events[-3:]]
    bus.away = False
    assert (await tick(harness, "sweep_outbox")).status == 204
    assert bus.published == [], "their own function may still be at it"
    harness.clock.advance(timedelta(seconds=harness.runtime.settings.outbox_grace_seconds + 1))
    assert (await tick(harness, "sweep_outbox")).status == 204
    assert bus.published == left
    assert (await tick(harness, "sweep_outbox")).status == 204
    assert bus.published == left


async def test_an_unavailable_bus_has_the_tick_delivered_again(harness: Harness) -> None:
    """While the bus is unavailable, the tick is answered with 503 and the events stay in the outbox."""
    bus = harness.runtime.bus = FlakyBus()
    begun = await story(harness)
    bus.away = True
    await harness.pay(begun.payer, begun.payee, 1)
    harness.clock.advance(timedelta(hours=1))
    assert (await tick(harness, "sweep_outbox")).status == 503
    bus.away, bus.published = False, []
    assert (await tick(harness, "sweep_outbox")).status == 204
    assert len(bus.published) == 1


async def test_each_expired_hold_is_published_as_one_fact(harness: Harness) -> None:
    """An expired hold that two ticks find has one event id; holds of refunds and unexpired holds are not published."""
    await harness.tenant("other")
    begun = await story(harness)
    payer, payee = await harness.account(500, tenant="other"), await harness.account(tenant="other")
    theirs = await harness.pay(payer["id"], payee["id"], 1, tenant="other", capture="manual", expires_in=60)
    ours = await harness.pay(begun.payer, begun.payee, 1, capture="manual", expires_in=60)
    await harness.pay(begun.payer, begun.payee, 1, capture="manual")
    settled = await begun.paid(100)
    await begun.refund(settled, 50)
    await harness.run_events()
    harness.clock.advance(timedelta(seconds=61))
    for _ in range(2):
        assert (await tick(harness, "expire_holds")).status == 204
    published = [event for event in harness.events if event.type == HoldExpired.type]
    assert len({event.id for event in published}) == 2
    assert {event.parsed(HoldExpired).payment_id for event in published} == {ours["id"], theirs["id"]}  # type: ignore[attr-defined]
    await harness.run_events()
    assert (await harness.payment(ours["id"]))["status"] == "expired"
    assert (await harness.payment(theirs["id"], tenant="other"))["status"] == "expired"


async def test_an_unavailable_cache_does_not_stop_the_saga_sweep(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the cache, overdue sagas are found in the documents, and payments can be created."""

    async def away(*_: object) -> None:
        raise Unavailable("no cache")

    for name in ("schedule", "unschedule", "due"):
        monkeypatch.setattr(harness.runtime.cache, name, away)
    begun = await story(harness)
    payment = await harness.pay(begun.payer, begun.payee, 100)
    harness._routed = len(harness.events)
    harness.clock.advance(timedelta(minutes=1))
    assert (await tick(harness, "sweep_sagas")).status == 204
    await harness.run_events()
    assert (await harness.payment(payment["id"]))["status"] == "settled"


@pytest.mark.parametrize("cache", ["kept", "lost"])
async def test_a_saga_continues_after_the_wall_clock_was_set_back(harness: Harness, cache: str) -> None:
    """After the wall clock was set back by an hour, the next tick continues a payment whose event was lost, and a
    payment that begins then keeps its own deadline."""
    begun = await story(harness)
    before = await harness.pay(begun.payer, begun.payee, 100)
    harness._routed = len(harness.events)
    if cache == "lost":
        await harness.runtime.cache.clear()
    harness.clock.jump(timedelta(hours=-1))
    later = await harness.pay(begun.payer, begun.payee, 100)
    harness._routed = len(harness.events)
    harness.clock.advance(timedelta(seconds=1))
    assert (await tick(harness, "sweep_sagas")).status == 204
    await harness.run_events()
    assert (await harness.payment(before["id"]))["status"] == "settled"
    assert (await harness.payment(later["id"]))["status"] == "created"


async def test_a_cached_deadline_without_a_document_is_removed(harness: Harness) -> None:
    """A cached deadline without a document, left by a failed commit, is removed; keys that are not of sagas are
    ignored."""
    now = harness.clock.now()
    for key in ("saga/payment/acme/pay_ghost", "saga/payment/gone/pay_ghost", "another/feature"):
        await harness.runtime.cache.schedule(key, now)
    harness.clock.advance(timedelta(seconds=1))
    events = len(harness.events)
    assert (await tick(harness, "sweep_sagas")).status == 204
    assert len(harness.events) == events
    assert list(await harness.runtime.cache.due(harness.clock.now(), 10)) == ["another/feature"]


def context(harness: Harness) -> Context:
    """Return a context of the platform outside any delivery."""
    origin = Origin("operations/test", "cause", "correlation", None, harness.runtime.telemetry.trace(None))
    return Context(harness.runtime, PLATFORM, origin)


async def test_every_tenant_is_swept_however_many_there_are(harness: Harness) -> None:
    """A sweep visits every tenant once, over several pages of tenants."""
    names = {"acme"} | {f"tenant-{number:03d}" for number in range(harness.runtime.settings.sweep_batch + 3)}
    for name in sorted(names - {"acme"}):
        await harness.tenant(name)
    assert [tenant_id async for tenant_id in tenant_ids(context(harness))] == sorted(names)


@pytest.mark.parametrize("order_by", [None, "currency", "created_at"])
async def test_each_page_of_a_sweep_has_event_ids_of_its_own(order_by: str | None) -> None:
    """Pages join without a gap in each order, and the facts of different pages and of different work in one tick have
    different ids, the same in a repeated tick."""
    harness = Harness.make(settings=Settings(sweep_batch=2))
    await harness.tenant()
    opened = {(await harness.account(currency=currency))["id"] for currency in ("BRL", "BRL", "USD", "BRL", "USD")}
    swept: list[str] = []

    async def page(found: Sequence[AccountDocument], scope: Context) -> None:
        assert len(found) <= 2
        swept.extend(account["id"] for account in found)
        scope.emit(Tick(schedule="x"))
        scope.emit(Tick(schedule="y"))

    ticks = []
    for _ in range(2):
        before = len(harness.events)
        for work in ("payments", "refunds"):
            swept.clear()
            await in_pages(context(harness), "acme", work, ACCOUNTS, Query(order_by=order_by), page)
            assert (len(swept), set(swept)) == (5, opened)
        ticks.append([event.id for event in harness.events[before:]])
    assert len(set(ticks[0])) == len(ticks[0]) == 12
    assert ticks[1] == ticks[0]


async def test_a_part_of_a_tick_is_retried_a_bounded_number_of_times(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the bounded number of version conflicts the part raises Unavailable and has written nothing."""
    calls = 0

    async def decide(scope: Context) -> None:
        nonlocal calls
        calls += 1
        scope.emit(Tick(schedule="x"))

    async def conflict(_commit: object) -> None:
        raise VersionConflict("always")

    monkeypatch.setattr(harness.documents, "commit", conflict)
    with pytest.raises(Unavailable):
        await run_in_tenant_unit_of_work(context(harness), "acme", "cause", decide)
    assert calls == harness.runtime.settings.commit_attempts


async def test_a_part_without_writes_makes_no_commit(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that only reads makes no commit, and its result is returned."""

    async def look(scope: Context) -> int:
        return len(await scope.find(USERS, Query()))

    async def fail(_commit: object) -> None:
        pytest.fail("nothing was to be committed")

    monkeypatch.setattr(harness.documents, "commit", fail)
    assert await run_in_tenant_unit_of_work(context(harness), "acme", "cause", look) == 0
