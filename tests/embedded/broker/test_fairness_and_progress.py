"""The small parts of the broker: fair queues, progress, admission, timers, and running a coroutine in place."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedded.broker.admission_queue import AdmissionQueue
from embedded.broker.driving import go_on
from embedded.broker.fair_queue import FairQueue
from embedded.broker.progress import Progress
from embedded.broker.timers import Timers
from shared.core.clock import ManualClock, SystemClock
from shared.core.problems import Problem
from tests.waiting import PATIENCE_SECONDS, rest


@given(items=st.lists(st.sampled_from("abc"), max_size=40))
def test_a_tenant_waits_at_most_one_round(items: list[str]) -> None:
    """Between two items of a tenant in the queue, every other tenant gets at most one; the order of a tenant's items
    is kept."""
    queue: FairQueue[tuple[str, int]] = FairQueue()
    for number, tenant in enumerate(items):
        queue.put(tenant, (tenant, number))
    taken = [queue.take() for _ in items]
    assert len(queue) == 0
    for tenant in set(items):
        positions = [position for position, (other, _) in enumerate(taken) if other == tenant]
        numbers = [number for other, number in taken if other == tenant]
        assert numbers == sorted(numbers)
        for before, after in pairwise(positions):
            between = [other for other, _ in taken[before + 1 : after]]
            assert all(between.count(other) <= 1 for other in between)


def test_an_empty_queue_has_nothing_to_take() -> None:
    """Taking an item from an empty queue is an error, also after it was cleared or its last item was removed."""
    queue: FairQueue[int] = FairQueue()
    queue.put("a", 1)
    assert queue.remove("a", 1)
    assert not queue.remove("a", 1)
    queue.put("a", 2)
    queue.clear()
    with pytest.raises(IndexError):
        queue.take()


async def test_progress_counts_by_correlation() -> None:
    """A correlation is quiet when its last delivery has ended, independent of other correlations."""
    progress = Progress()
    one, other = progress.began("one", 2), progress.began("other", 1)
    progress.ended(one)
    assert not await progress.quiet("one", 0)
    waiting = asyncio.create_task(progress.quiet("one", PATIENCE_SECONDS))
    await asyncio.sleep(0)
    progress.ended(one)
    assert await waiting
    assert await progress.quiet("one", 0)
    assert not await progress.idle(0)
    progress.ended(other)
    assert await progress.idle(0)


async def test_clearing_releases_all_waiters() -> None:
    """When progress is cleared, all waiters are released, and later ends of the cleared deliveries are ignored."""
    progress = Progress()
    old = progress.began("one", 1)
    waiting = asyncio.create_task(progress.quiet("one", PATIENCE_SECONDS))
    await asyncio.sleep(0)
    progress.clear()
    assert await waiting
    progress.began("one", 1)
    progress.ended(old)
    assert len(progress) == 1


async def test_the_admission_queue_admits_as_others_end_each_tenant_in_turn() -> None:
    """Requests beyond the limit wait; a tenant's first waiting request is admitted before another tenant's second."""
    progress = Progress()
    queue = AdmissionQueue(progress, limit=1, room=10, patience_seconds=PATIENCE_SECONDS)
    await queue.admit("loud")
    current = progress.began("first", 1)
    entered: list[str] = []

    async def enter(tenant: str, name: str) -> None:
        nonlocal current
        await queue.admit(tenant)
        entered.append(name)
        current = progress.began(name, 1)

    tasks = [
        asyncio.create_task(enter(tenant, name)) for tenant, name in (("loud", "l1"), ("loud", "l2"), ("quiet", "q1"))
    ]
    for expected in (1, 2, 3):
        await rest()
        assert len(entered) == expected - 1
        progress.ended(current)
        await rest()
        assert len(entered) == expected
    await asyncio.gather(*tasks)
    assert entered == ["l1", "q1", "l2"]
    assert queue.waiting == 0


async def test_the_admission_queue_is_bounded() -> None:
    """A request that finds the queue full, or has waited too long, is refused and may be repeated."""
    progress = Progress()
    queue = AdmissionQueue(progress, limit=1, room=1, patience_seconds=0.02)
    progress.began("busy", 1)
    waiting = asyncio.create_task(queue.admit("a"))
    await asyncio.sleep(0)
    for attempt in (queue.admit("b"), waiting):
        with pytest.raises(Problem) as refused:
            await attempt
        assert refused.value.code == "dependency_unavailable"
        assert refused.value.headers["Retry-After"]
    assert queue.waiting == 0


async def test_a_client_that_disconnects_leaves_the_queue() -> None:
    """A canceled wait occupies no place in the queue, and the next request is admitted."""
    progress = Progress()
    queue = AdmissionQueue(progress, limit=1, room=10, patience_seconds=PATIENCE_SECONDS)
    busy = progress.began("busy", 1)
    leaver, stayer = asyncio.create_task(queue.admit("a")), asyncio.create_task(queue.admit("b"))
    await asyncio.sleep(0)
    progress.ended(busy)
    leaver.cancel()
    await asyncio.wait_for(stayer, PATIENCE_SECONDS)
    with pytest.raises(asyncio.CancelledError):
        await leaver


async def test_timers_run_by_the_clock_in_order() -> None:
    """Due actions run earliest first; a canceled action does not run, and a failing one does not stop the others."""
    clock = ManualClock()
    timers = Timers(clock)
    done: list[int] = []
    timers.after(2, lambda: done.append(2))
    timers.after(1, lambda: done.append(1))
    timers.after(1.5, lambda: done.remove(99))
    timers.after(3, lambda: done.append(3)).cancel()
    assert timers.run_due() == 0
    clock.advance(timedelta(seconds=5))
    assert timers.run_due() == 3
    assert done == [1, 2]
    assert len(timers) == 0
    timers.close()


@pytest.mark.parametrize("step", [timedelta(hours=-1), timedelta(hours=1)], ids=str)
async def test_timers_do_not_depend_on_the_wall_clock(step: timedelta) -> None:
    """An action runs after its delay, neither sooner nor later when the wall clock jumps."""
    clock = ManualClock()
    timers = Timers(clock)
    done: list[int] = []
    timers.after(10, lambda: done.append(10))
    clock.jump(step)
    clock.advance(timedelta(seconds=9))
    assert timers.run_due() == 0
    clock.advance(timedelta(seconds=1))
    assert timers.run_due() == 1
    timers.close()


async def test_timers_wake_by_themselves_on_a_real_clock() -> None:
    """On the system clock, timers run without a call."""
    timers = Timers(SystemClock())
    happened = asyncio.Event()
    timers.after(0.01, happened.set)
    await asyncio.wait_for(happened.wait(), PATIENCE_SECONDS)
    timers.close()


async def test_resuming_a_coroutine_passes_results_and_errors() -> None:
    """Results, exceptions and cancellations reach a coroutine whose first step was made by another caller."""
    calls: list[int] = []

    async def slow() -> int:
        await asyncio.sleep(0)
        await asyncio.sleep(0.001)
        return 2

    async def failing() -> int:
        await asyncio.sleep(0)
        raise KeyError("x")

    work = slow()
    assert await go_on(work, work.send(None)) == 2
    work = failing()
    with pytest.raises(KeyError):
        await go_on(work, work.send(None))

    async def cleaning() -> int:
        try:
            await asyncio.sleep(3600)
        finally:
            calls.append(4)
        return 3

    async def run() -> int:
        work = cleaning()
        return await go_on(work, work.send(None))

    task = asyncio.create_task(run())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert calls == [4]
