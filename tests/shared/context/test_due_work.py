"""Work of a process is done at its time, within bounds, and a slow receiver delays no other tenant."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.context.due_work import Bounds, Done, DueWork, Work
from shared.core.clock import ManualClock
from tests.waiting import rest

SOON = 1_000.0


class Receivers:
    """Receivers that answer at once, or hang until they are released; each counts its calls at once."""

    def __init__(self, *hanging: str) -> None:
        self.hanging = set(hanging)
        self.free = asyncio.Event()
        self.done: list[str] = []
        self.now: Counter[str] = Counter()
        self.most: Counter[str] = Counter()

    async def __call__(self, work: Work) -> Done:
        for name in ("all", work.tenant_id, work.lane):
            self.now[name] += 1
            self.most[name] = max(self.most[name], self.now[name])
        if work.lane in self.hanging:
            await self.free.wait()
        else:
            await asyncio.sleep(0)
        for name in ("all", work.tenant_id, work.lane):
            self.now[name] -= 1
        self.done.append(work.key)
        return Done(succeeded=True)

    async def until(self, count: int) -> None:
        """Wait until this many pieces are done."""
        while len(self.done) < count:  # noqa: ASYNC110 - a test's own event would hide a driver that stops
            await asyncio.sleep(0)


def of(tenant: str, lane: str, count: int) -> list[Work]:
    return [Work(f"{tenant}/{lane}/{n}", tenant, f"{tenant}/{lane}") for n in range(count)]


async def test_a_hanging_receiver_delays_no_other_tenant() -> None:
    """While hundreds of pieces wait for a receiver that hangs, all work of another tenant and of the same tenant's
    other receiver is done."""
    work, receivers = DueWork(ManualClock()), Receivers("slow/hangs")
    for item in [*of("slow", "hangs", 500), *of("slow", "fast", 100), *of("other", "fast", 500)]:
        assert work.add(item)
    driving = asyncio.ensure_future(work.drive(receivers, 0.0, SOON))
    await receivers.until(600)
    assert receivers.now["slow/hangs"] == receivers.most["slow/hangs"] == Bounds().lane
    receivers.free.set()
    await driving
    assert len(receivers.done) == len(set(receivers.done)) == 1100


async def test_many_hanging_tenants_leave_places() -> None:
    """With twenty tenants whose every receiver hangs, another tenant's work is done."""
    hanging = [f"slow{t}/{lane}" for t in range(20) for lane in range(3)]
    work, receivers = DueWork(ManualClock()), Receivers(*hanging)
    for name in hanging:
        tenant, _, lane = name.partition("/")
        for item in of(tenant, lane, 20):
            work.add(item)
    for item in of("other", "fast", 50):
        work.add(item)
    driving = asyncio.ensure_future(work.drive(receivers, 0.0, SOON))
    await receivers.until(50)
    receivers.free.set()
    await driving


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xy")), max_size=60),
    st.integers(1, 5),
    st.integers(1, 4),
    st.integers(1, 3),
)
def test_the_bounds_hold(items: list[tuple[str, str]], process: int, tenant: int, lane: int) -> None:
    """Never more than the bounds of the process, a tenant and a lane are in progress, and all work is done once."""

    async def run() -> Receivers:
        work, receivers = DueWork(ManualClock(), Bounds(process, tenant, lane)), Receivers()
        for n, (owner, place) in enumerate(items):
            work.add(Work(str(n), owner, f"{owner}/{place}"))
        await work.drive(receivers, 0.0, SOON)
        return receivers

    receivers = asyncio.run(run())
    assert sorted(receivers.done) == sorted(map(str, range(len(items))))
    assert receivers.most["all"] <= process
    assert all(receivers.most[name] <= (lane if "/" in name else tenant) for name in receivers.most if name != "all")


async def test_a_failing_lane_has_one_place() -> None:
    """After a failure, a lane has one piece in progress at a time until one succeeds."""
    work, receivers = DueWork(ManualClock()), Receivers()
    outcomes = [False, *[True] * 9]

    async def run(item: Work) -> Done:
        await receivers(item)
        return Done(succeeded=outcomes.pop(0))

    first, *others = of("a", "x", 5)
    work.add(first)
    await work.drive(run, 0.0, SOON)
    assert receivers.most["a/x"] == 1
    for item in others:
        work.add(item)
    driving = asyncio.ensure_future(work.drive(run, 0.0, SOON))
    await asyncio.sleep(0)
    assert receivers.now["a/x"] <= 1
    await driving
    assert len(receivers.done) == 5


async def test_one_call_drives_and_the_others_return() -> None:
    """A second call returns at once, and its work is done by the first."""
    work, receivers = DueWork(ManualClock()), Receivers("a/hangs")
    (slow,), (fast,) = of("a", "hangs", 1), of("b", "fast", 1)
    work.add(slow)
    driving = asyncio.ensure_future(work.drive(receivers, 0.0, SOON))
    await rest()
    work.add(fast)
    await work.drive(receivers, 0.0, SOON)
    assert receivers.done == []
    await rest()
    assert receivers.done == [fast.key]
    receivers.free.set()
    await driving


async def test_work_is_done_at_its_time() -> None:
    """The driver stays for work that is due soon and does it when it is due; it does not wait for work due later."""
    clock = ManualClock()
    work, receivers = DueWork(clock), Receivers()
    (near,), (far,) = of("a", "near", 1), of("a", "far", 1)
    work.add(near, 5.0)
    work.add(far, 100.0)
    driving = asyncio.ensure_future(work.drive(receivers, 10.0, SOON))
    await rest()
    assert receivers.done == []
    clock.advance(timedelta(seconds=5))
    await driving
    assert (receivers.done, work.waiting) == ([near.key], 1)


async def test_work_that_is_added_again() -> None:
    """Work that is added twice is done once, at the earlier time; work that asks to be done again is."""
    clock = ManualClock()
    work, receivers = DueWork(clock), Receivers()
    (item,) = of("a", "x", 1)
    work.add(item, 50.0)
    work.add(item, 5.0)
    work.add(item, 20.0)
    clock.advance(timedelta(seconds=5))
    await work.drive(receivers, 0.0, SOON)
    assert (receivers.done, work.waiting) == ([item.key], 0)
    again = [Done(succeeded=False, again_after=3.0), Done(succeeded=True)]

    async def run(_: Work) -> Done:
        return again.pop(0)

    work.add(item)
    await work.drive(run, 0.0, SOON)
    assert work.waiting == 1
    clock.advance(timedelta(seconds=3))
    await work.drive(run, 0.0, SOON)
    assert again == []


async def test_too_much_work_is_left_to_the_sweep() -> None:
    """Beyond the bound, new work is not taken."""
    work = DueWork(ManualClock(), Bounds(waiting=2))
    assert [work.add(item) for item in of("a", "x", 3)] == [True, True, False]


async def test_an_error_in_the_program_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """When a piece of work raises, the error is logged and the other work is done."""
    work = DueWork(ManualClock())
    done: list[str] = []

    async def run(item: Work) -> Done:
        if item.key.endswith("/0"):
            raise RuntimeError("broken")
        done.append(item.key)
        return Done(succeeded=True)

    for item in of("a", "x", 3):
        work.add(item)
    await work.drive(run, 0.0, SOON)
    assert len(done) == 2
    assert "a/x/0 failed" in caplog.text


async def test_a_driver_that_is_cancelled_leaves_the_rest() -> None:
    """When the driving call is cancelled, its work in progress is cancelled and the next call does the rest."""
    work, receivers = DueWork(ManualClock(), Bounds(process=1)), Receivers("a/hangs")
    (slow,), (fast,) = of("a", "hangs", 1), of("b", "fast", 1)
    work.add(slow)
    work.add(fast)
    driving = asyncio.ensure_future(work.drive(receivers, 0.0, SOON))
    await rest()
    driving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await driving
    await work.drive(receivers, 0.0, SOON)
    assert receivers.done == [fast.key]


async def test_a_driver_ends_after_its_longest_time() -> None:
    """After its longest time a driver starts nothing more, and the next one continues."""
    work, receivers = DueWork(ManualClock()), Receivers()
    for item in of("a", "x", 3):
        work.add(item)
    await work.drive(receivers, 0.0, 0.0)
    assert receivers.done == []
    await work.drive(receivers, 0.0, SOON)
    assert len(receivers.done) == 3
