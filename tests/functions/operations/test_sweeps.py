"""The sweeps that schedules set going."""

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


async def turn(harness: Harness, sweep: str) -> Delivery:
    """One turn of a sweep, without what follows."""
    return await harness.deliver(f"operations/{sweep}", harness.envelope(Tick(schedule=sweep), tenant=PLATFORM))


class FlakyBus:
    """A bus that notes what it is given and can be away."""

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


async def test_what_a_crash_left_in_the_outbox_is_published_once_it_is_old_enough(harness: Harness) -> None:
    """Each committed event reaches the bus; those that have are left alone."""
    bus = harness.runtime.bus = FlakyBus()
    begun = await story(harness)
    bus.away, bus.published = True, []
    for _ in range(3):
        await harness.pay(begun.payer, begun.payee, 1)
    left = [event.id for event in harness.events[-3:]]
    bus.away = False
    assert (await turn(harness, "sweep_outbox")).status == 204
    assert bus.published == [], "their own function may still be at it"
    harness.clock.advance(timedelta(seconds=harness.runtime.settings.outbox_grace_seconds + 1))
    assert (await turn(harness, "sweep_outbox")).status == 204
    assert bus.published == left
    assert (await turn(harness, "sweep_outbox")).status == 204
    assert bus.published == left


async def test_a_bus_that_is_away_has_the_sweep_tried_again(harness: Harness) -> None:
    """The turn is answered 503, and what was left stays left."""
    bus = harness.runtime.bus = FlakyBus()
    begun = await story(harness)
    bus.away = True
    await harness.pay(begun.payer, begun.payee, 1)
    harness.clock.advance(timedelta(hours=1))
    assert (await turn(harness, "sweep_outbox")).status == 503
    bus.away, bus.published = False, []
    assert (await turn(harness, "sweep_outbox")).status == 204
    assert len(bus.published) == 1


async def test_expired_holds_are_told_of_as_one_fact_each_for_every_tenant(harness: Harness) -> None:
    """A hold that two turns find has one event id; refunds' holds and those with time left are not told of."""
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
        assert (await turn(harness, "expire_holds")).status == 204
    told = [event for event in harness.events if event.type == HoldExpired.type]
    assert len({event.id for event in told}) == 2
    assert {event.parsed(HoldExpired).payment_id for event in told} == {ours["id"], theirs["id"]}  # type: ignore[attr-defined]
    await harness.run_events()
    assert (await harness.payment(ours["id"]))["status"] == "expired"
    assert (await harness.payment(theirs["id"], tenant="other"))["status"] == "expired"


async def test_a_cache_that_is_away_does_not_stop_the_saga_sweep(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the cache cannot tell is found in the documents; payments are made without it as well."""

    async def away(*_: object) -> None:
        raise Unavailable("no cache")

    for name in ("schedule", "unschedule", "due"):
        monkeypatch.setattr(harness.runtime.cache, name, away)
    begun = await story(harness)
    payment = await harness.pay(begun.payer, begun.payee, 100)
    harness._routed = len(harness.events)
    harness.clock.advance(timedelta(minutes=1))
    assert (await turn(harness, "sweep_sagas")).status == 204
    await harness.run_events()
    assert (await harness.payment(payment["id"]))["status"] == "settled"


@pytest.mark.parametrize("cache", ["kept", "lost"])
async def test_a_saga_is_not_stuck_for_as_long_as_the_wall_clock_was_set_back(harness: Harness, cache: str) -> None:
    """Set back an hour, a payment whose event was lost goes on in the next turn; one that began later has its time."""
    begun = await story(harness)
    before = await harness.pay(begun.payer, begun.payee, 100)
    harness._routed = len(harness.events)
    if cache == "lost":
        await harness.runtime.cache.clear()
    harness.clock.jump(timedelta(hours=-1))
    later = await harness.pay(begun.payer, begun.payee, 100)
    harness._routed = len(harness.events)
    harness.clock.advance(timedelta(seconds=1))
    assert (await turn(harness, "sweep_sagas")).status == 204
    await harness.run_events()
    assert (await harness.payment(before["id"]))["status"] == "settled"
    assert (await harness.payment(later["id"]))["status"] == "created"


async def test_a_deadline_in_the_cache_of_what_does_not_exist_is_forgotten(harness: Harness) -> None:
    """A commit that never happened may leave one behind, and other features keep deadlines of their own."""
    now = harness.clock.now()
    for key in ("saga/payment/acme/pay_ghost", "saga/payment/gone/pay_ghost", "another/feature"):
        await harness.runtime.cache.schedule(key, now)
    harness.clock.advance(timedelta(seconds=1))
    events = len(harness.events)
    assert (await turn(harness, "sweep_sagas")).status == 204
    assert len(harness.events) == events
    assert list(await harness.runtime.cache.due(harness.clock.now(), 10)) == ["another/feature"]


def context(harness: Harness) -> Context:
    """A platform's context outside any delivery."""
    origin = Origin("operations/test", "cause", "correlation", None, harness.runtime.telemetry.trace(None))
    return Context(harness.runtime, PLATFORM, origin)


async def test_every_tenant_is_swept_however_many_there_are(harness: Harness) -> None:
    """Pages of tenants join without a gap."""
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

    turns = []
    for _ in range(2):
        before = len(harness.events)
        for work in ("payments", "refunds"):
            swept.clear()
            await in_pages(context(harness), "acme", work, ACCOUNTS, Query(order_by=order_by), page)
            assert (len(swept), set(swept)) == (5, opened)
        turns.append([event.id for event in harness.events[before:]])
    assert len(set(turns[0])) == len(turns[0]) == 12
    assert turns[1] == turns[0]


async def test_a_part_that_others_interfere_with_is_decided_anew_a_bounded_number_of_times(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Conflicts that do not end make the store unavailable for now, and nothing is half done."""
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


async def test_a_part_that_writes_nothing_commits_nothing(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking costs no write; what was decided is handed back."""

    async def look(scope: Context) -> int:
        return len(await scope.find(USERS, Query()))

    async def fail(_commit: object) -> None:
        pytest.fail("nothing was to be committed")

    monkeypatch.setattr(harness.documents, "commit", fail)
    assert await run_in_tenant_unit_of_work(context(harness), "acme", "cause", look) == 0
