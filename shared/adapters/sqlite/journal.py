"""Group commit: commits that were applied in memory are gathered into batches, which one writer makes durable in order.

One batch is with the writer at a time, and the next is gathered meanwhile; so the slower the disk, the larger
the batches. When a batch fails, all that was decided and is not on disk never happened: memory is dropped, the
generation grows, and whoever waits is refused.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final, Protocol

from shared.adapters.sqlite.writer import READY, Report, Statement, Writer
from shared.core.crash_points import reach
from shared.ports.documents import Unavailable

log = logging.getLogger(__name__)
_RESTART_SECONDS: Final = (0.0, 0.1, 0.5, 2.0, 5.0)

WriterFactory = Callable[[Report, Callable[[], None], bool], Writer]


class Part(Protocol):
    """A part of the store whose state the journal makes durable."""

    def drain(self) -> list[Statement]:
        """Return the statements for all changes since the last call. They are in flight until `settled` or
        `dropped`."""
        ...

    def settled(self) -> None:
        """The changes in flight are on disk."""
        ...

    def dropped(self) -> None:
        """All changes that are not on disk are lost: drop memory."""
        ...


class Journal:
    """Gathers, submits, and tells."""

    def __init__(self, make_writer: WriterFactory, *, interval: float, limit_bytes: int) -> None:
        """`interval` is the least time between two batches in seconds: at low load it joins what comes together.
        `limit_bytes` is how much may wait for the writer before commits wait at the door."""
        self._make_writer = make_writer
        self._writer = make_writer(self._reported, self._writer_lost, False)
        self._interval = interval
        self._limit_bytes = limit_bytes
        self._loop = asyncio.get_running_loop()
        self._parts: list[Part] = []
        self._callbacks: list[Callable[[], None]] = []
        self._number = READY
        self._last_flush = 0.0
        self._idle = True
        self._in_flight = False
        self._touched = False
        self._gathered_bytes = 0
        self._gathering_waiters: list[asyncio.Future[None]] = []
        self._in_flight_waiters: list[asyncio.Future[None]] = []
        self._room_waiters: list[asyncio.Future[None]] = []
        self._restart: asyncio.Task[None] | None = None
        self.refusing: str | None = None
        self.generation = 0
        self.batches = 0

    async def start(self) -> None:
        """Open the writer. Raises WriterFailed or SchemaTooNew."""
        await self._writer.start()

    def add(self, part: Part) -> None:
        """Include a part's changes in every batch."""
        self._parts.append(part)

    def on_reset(self, callback: Callable[[], None]) -> None:
        """Call `callback` when memory was dropped and a writer is ready: the state on disk can be read again."""
        self._callbacks.append(callback)

    @property
    def full(self) -> bool:
        """Whether a new commit must wait in `room`, or is refused there."""
        return self._gathered_bytes > self._limit_bytes or self.refusing is not None

    async def room(self) -> None:
        """Wait until the writer has caught up. Raises Unavailable while there is no writer."""
        while self.full:
            if self.refusing is not None:
                raise Unavailable(self.refusing)
            waiter: asyncio.Future[None] = self._loop.create_future()
            self._room_waiters.append(waiter)
            await waiter

    def touch(self, size: int) -> None:
        """Record that a part has new changes, of approximately `size` bytes, and schedule a batch."""
        self._gathered_bytes += size
        self._touched = True
        if self._idle:
            self._schedule()

    async def durable(self) -> None:
        """Return when all changes up to now are on disk. Raises Unavailable when they are lost."""
        if self.refusing is not None:
            raise Unavailable(self.refusing)
        if self._touched:
            waiters = self._gathering_waiters
        elif self._in_flight:
            waiters = self._in_flight_waiters
        else:
            return
        waiter: asyncio.Future[None] = self._loop.create_future()
        waiters.append(waiter)
        await waiter

    async def close(self) -> None:
        """Write what is left and close the writer."""
        if self._restart is not None:
            self._restart.cancel()
        try:
            await self.durable()
        except Unavailable as error:
            log.warning("closing with decisions that are not on disk: %s", error)
        self.refusing = "the store is closed"
        await self._writer.close()

    def _schedule(self) -> None:
        self._idle = False
        wait = self._last_flush + self._interval - self._loop.time()
        if wait > 0:
            self._loop.call_later(wait, self._flush)
        else:
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        if self._in_flight:
            return
        if self.refusing is not None or not self._touched:
            self._idle = True
            return
        statements: list[Statement] = []
        for part in self._parts:
            statements += part.drain()
        self._touched = False
        self._in_flight = True
        self._gathered_bytes = 0
        self._in_flight_waiters = self._gathering_waiters
        self._gathering_waiters = []
        self._number += 1
        self._last_flush = self._loop.time()
        reach("store.submitting")
        self._writer.submit(self._number, statements)
        _wake(self._room_waiters)

    def _reported(self, number: int, error: str | None) -> None:
        if number != self._number or not self._in_flight:
            return
        if error is not None:
            self._drop(f"a batch could not be written: {error}")
            self._tell_reset()
            return
        reach("store.durable")
        self._in_flight = False
        self.batches += 1
        for part in self._parts:
            part.settled()
        _wake(self._in_flight_waiters)
        if self._touched:
            self._schedule()
        else:
            self._idle = True

    def _drop(self, reason: str) -> None:
        log.error("memory is dropped: %s", reason)
        self.generation += 1
        self._in_flight = self._touched = False
        self._gathered_bytes = 0
        for part in self._parts:
            part.dropped()
        refusal = Unavailable(reason)
        for waiters in (self._in_flight_waiters, self._gathering_waiters):
            _wake(waiters, refusal)
        _wake(self._room_waiters)
        self._idle = True

    def _tell_reset(self) -> None:
        for callback in self._callbacks:
            callback()

    def _writer_lost(self) -> None:
        if self.refusing is None:
            self.refusing = "the store's writer ended; a new one is being started"
            self._drop("the writer ended")
            self._restart = self._loop.create_task(self._start_again())

    async def _start_again(self) -> None:
        await self._writer.close()
        for pause in (*_RESTART_SECONDS, *([_RESTART_SECONDS[-1]] * 10_000)):
            await asyncio.sleep(pause)
            self._writer = self._make_writer(self._reported, self._writer_lost, True)
            try:
                await self._writer.start()
            except Exception as error:  # noqa: BLE001 - whatever it is, the platform cannot write and says so
                log.error("the store's writer does not start: %s", error)  # noqa: TRY400 - the reason is enough, again and again
                continue
            self.refusing = self._restart = None
            if self._touched:  # acknowledgements are taken without a writer, and wait for one
                self._schedule()
            self._tell_reset()
            return


def _wake(waiters: list[asyncio.Future[None]], refusal: Unavailable | None = None) -> None:
    for waiter in waiters:
        if waiter.done():
            continue
        if refusal is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(refusal)
    waiters.clear()
