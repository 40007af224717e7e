"""Work of one process that is due at a time and may take long: calls of servers that tenants have chosen.

A function on Knative works only while it handles a request. So the first call of a function that adds work drives all
of it, and calls that come meanwhile only add to it and return. The driving call stays while work is due soon.

Lanes share the process: a lane is one receiver of one tenant. The bounds for the process, a tenant and a lane, and
turns between tenants, keep a slow receiver from delaying another tenant. A lane whose last piece of work has failed has
one place until work succeeds.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Final, NamedTuple

from shared.core.clock import Clock

log = logging.getLogger(__name__)
_LOOK_AGAIN_SECONDS: Final = 1.0


class Work(NamedTuple):
    """A piece of work. `key` identifies it in its process; `lane` is the id of its receiver."""

    key: str
    tenant_id: str
    lane: str


class Done(NamedTuple):
    """The outcome of a piece of work: whether its receiver accepted it (None: the receiver was not called), and after
    how many seconds it is due again (None: never)."""

    succeeded: bool | None
    again_after: float | None = None


class Bounds(NamedTuple):
    """The most pieces of work at once, in the process, for a tenant and for a lane, and the most that may wait."""

    process: int = 256
    tenant: int = 16
    lane: int = 4
    waiting: int = 10_000


Run = Callable[[Work], Awaitable[Done]]
"""Does a piece of work. An exception counts as a failure, and the work is not due again in this process."""


class DueWork:
    """The work of one kind in this process. It is in memory only: a store has it, too, and a sweep adds it again."""

    def __init__(self, clock: Clock, bounds: Bounds | None = None) -> None:
        self._clock = clock
        self._bounds = bounds or Bounds()
        self._due: dict[str, float] = {}
        self._heap: list[tuple[float, int, Work]] = []
        self._order = count()
        self._ready: dict[str, dict[str, deque[Work]]] = {}
        self._in_flight: dict[str, int] = {}
        self._failing: dict[str, None] = {}
        self._running: dict[asyncio.Task[None], Work] = {}
        self._changed = asyncio.Event()
        self._driven = False

    @property
    def waiting(self) -> int:
        """The number of pieces of work that are not in progress."""
        return len(self._due)

    def add(self, work: Work, after_seconds: float = 0.0) -> bool:
        """Add work that is due in a number of seconds. Work that is known becomes due at the earlier time.

        Returns False when too much waits; a sweep adds the work again later.
        """
        due = self._clock.monotonic() + after_seconds
        known = self._due.get(work.key)
        if known is not None and known <= due:
            return True
        if known is None and len(self._due) >= self._bounds.waiting:
            return False
        self._due[work.key] = due
        heapq.heappush(self._heap, (due, next(self._order), work))
        self._changed.set()
        return True

    async def drive(self, run: Run, stay_seconds: float, most_seconds: float) -> None:
        """Do the work that is due, and that becomes due at most `stay_seconds` later, for at most about `most_seconds`.

        Returns at once when another call drives the work. Work that is not done stays for the next driver.
        """
        if self._driven:
            return
        self._driven = True
        loop = asyncio.get_running_loop()
        end = loop.time() + most_seconds
        try:
            while True:
                self._changed.clear()
                self._take_due()
                if loop.time() < end:
                    self._start(run)
                wait = self._seconds_to_next()
                if not self._running and (loop.time() >= end or (wait > stay_seconds and not self._ready)):
                    return
                await self._pause(min(wait, _LOOK_AGAIN_SECONDS))
        finally:
            self._driven = False
            await self._abandon()

    async def _pause(self, seconds: float) -> None:
        """Wait until work is done, added or due."""
        changed = asyncio.ensure_future(self._changed.wait())
        try:
            await asyncio.wait({changed, *self._running}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            changed.cancel()

    async def _abandon(self) -> None:
        """Cancel the work in progress when its driver is cancelled."""
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _take_due(self) -> None:
        now = self._clock.monotonic()
        while self._heap and self._heap[0][0] <= now:
            due, _, work = heapq.heappop(self._heap)
            if self._due.get(work.key) == due:
                self._ready.setdefault(work.tenant_id, {}).setdefault(work.lane, deque()).append(work)

    def _seconds_to_next(self) -> float:
        if not self._heap:
            return float("inf")
        return max(0.0, self._heap[0][0] - self._clock.monotonic())

    def _start(self, run: Run) -> None:
        """Start ready work within the bounds, tenants in turn and the lanes of a tenant in turn."""
        blocked: set[str] = set()
        while len(self._running) < self._bounds.process:
            tenant_id = next((tenant for tenant in self._ready if tenant not in blocked), None)
            if tenant_id is None:
                return
            work = self._next_of(tenant_id)
            if work is None:
                blocked.add(tenant_id)
                continue
            task = asyncio.ensure_future(self._do(run, work))
            self._running[task] = work
            self._count(work, 1)
            task.add_done_callback(self._ended)

    def _next_of(self, tenant_id: str) -> Work | None:
        """Remove the next ready work of a tenant; None when its bounds leave no place."""
        if self._in_flight.get(f"tenant/{tenant_id}", 0) >= self._bounds.tenant:
            return None
        lanes = self._ready[tenant_id]
        for lane, waiting in lanes.items():
            places = 1 if lane in self._failing else self._bounds.lane
            if self._in_flight.get(f"lane/{lane}", 0) >= places:
                continue
            work = waiting.popleft()
            # The lane and the tenant go to the end of the turns.
            del lanes[lane]
            if waiting:
                lanes[lane] = waiting
            del self._ready[tenant_id]
            if lanes:
                self._ready[tenant_id] = lanes
            return work
        return None

    async def _do(self, run: Run, work: Work) -> None:
        del self._due[work.key]
        try:
            done = await run(work)
        except Exception:
            log.exception("%s failed; a sweep finds it again", work.key)
            done = Done(succeeded=False)
        if done.succeeded:
            self._failing.pop(work.lane, None)
        elif done.succeeded is False and len(self._failing) < self._bounds.waiting:
            self._failing[work.lane] = None
        if done.again_after is not None:
            self.add(work, done.again_after)

    def _count(self, work: Work, change: int) -> None:
        for name in (f"tenant/{work.tenant_id}", f"lane/{work.lane}"):
            left = self._in_flight.get(name, 0) + change
            if left:
                self._in_flight[name] = left
            else:
                self._in_flight.pop(name, None)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._count(self._running.pop(task), -1)
        self._changed.set()
