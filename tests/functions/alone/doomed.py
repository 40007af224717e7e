"""A function with a process that dies at one crash point after the other, and the broker of a test."""

from __future__ import annotations

import asyncio
import http.client
import signal
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from shared.adapters.kafka.tail import TopicTail
from shared.core.crash_points import VARIABLE
from shared.core.envelope import Envelope
from shared.messaging.kafka_binding import from_kafka
from tests.forking import Forked
from tests.functions.alone.processes import Function
from tests.functions.alone.starting import Alone, Reply
from tests.invariants.deliveries import deliveries_of
from tests.waiting import PATIENCE_SECONDS

RETRIED: Final = frozenset({409, 429, 503})
_PAUSE: Final = 0.05
Send = Callable[[Alone], Reply]
"""Sends a request to a process. Raises OSError or HTTPException when it dies meanwhile."""


class _Armed(NamedTuple):
    """A process that dies at a crash point."""

    process: Forked
    alone: Alone
    point: str


class Doomed:
    """A function with one process, and one more that dies at the next of its crash points."""

    def __init__(self, function: Function, points: Sequence[str]) -> None:
        """`function` has one process."""
        self.visited: list[str] = []
        """The points at which a process has died."""
        self._function = function
        self._left = list(points)
        self._armed: _Armed | None = None
        self._arming = asyncio.Lock()

    @property
    def left(self) -> list[str]:
        """The points that were not visited."""
        return ([] if self._armed is None else [self._armed.point]) + self._left

    async def answered(self, send: Send) -> Reply:
        """Send a request until it is answered: to processes that die as long as there are points, then to the other.

        An answer that asks for a retry, because the key or event of a killed process is still locked, is not returned.
        """
        while True:
            armed = await self._next()
            alone = self._function.processes[0][1] if armed is None else armed.alone
            try:
                reply = await asyncio.to_thread(send, alone)
            except (OSError, http.client.HTTPException):
                assert armed is not None, "a process has died that should live"
                await self._buried(armed)
                continue
            if reply.status not in RETRIED:
                return reply
            await asyncio.sleep(_PAUSE)

    async def _next(self) -> _Armed | None:
        """Return the process that will die, which is started if there is none, or None after the last point."""
        async with self._arming:
            if self._armed is None and self._left:
                point = self._left.pop(0)
                process, alone = await asyncio.to_thread(self._function.launched, **{VARIABLE: point})
                self._armed = _Armed(process, alone, point)
            return self._armed

    async def _buried(self, armed: _Armed) -> None:
        """Record the death of a process."""
        async with self._arming:
            if self._armed is not armed:
                return
            code = await asyncio.to_thread(armed.process.wait, PATIENCE_SECONDS)
            assert code == -signal.SIGKILL, f"the process ended with {code}: {armed.alone.output()}"
            self.visited.append(armed.point)
            self._armed = None


class Broker:
    """Delivers each event on Kafka to the functions whose Triggers take it, until they acknowledge it."""

    def __init__(self, functions: Mapping[str, Doomed]) -> None:
        self._functions = functions
        self._withheld: list[Envelope] = []
        self._in_progress: set[asyncio.Task[None]] = set()
        self._failed: list[BaseException] = []
        self.withholds: Callable[[Envelope], bool] = lambda _: False
        """Whether an event is not delivered before `release`."""

    async def run(self, tail: TopicTail) -> None:
        """Read and deliver until cancelled."""
        async for record in tail.new():
            event = from_kafka(record.headers, record.value or b"")
            if self.withholds(event):
                self._withheld.append(event)
            else:
                self._begin(event)

    def release(self) -> None:
        """Deliver what was withheld, and withhold nothing any more."""
        self.withholds = lambda _: False
        for event in self._withheld:
            self._begin(event)
        self._withheld.clear()

    @property
    def withheld(self) -> int:
        """The number of events that wait for `release`."""
        return len(self._withheld)

    @property
    def is_idle(self) -> bool:
        """Whether no delivery is in progress. Raises what a delivery has failed with."""
        if self._failed:
            raise self._failed[0]
        return not self._in_progress

    def _begin(self, event: Envelope) -> None:
        for each in deliveries_of(event):
            function = self._functions.get(each.consumer.id)
            if function is not None:
                task = asyncio.create_task(deliver(function, event))
                self._in_progress.add(task)
                task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[None]) -> None:
        self._in_progress.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed.append(error)


async def deliver(function: Doomed, event: Envelope) -> None:
    """Deliver an event until it is acknowledged. Any answer for which a broker does not retry is an error."""
    headers, body = event.to_binary()
    reply = await function.answered(lambda alone: alone.send("POST", "/", headers, body))
    assert reply.status == 204, (event.type, reply)
