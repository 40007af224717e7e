"""Group commit: commits that were applied in memory are gathered into batches, which one writer makes durable in order.

One batch is with the writer at a time, and the next is gathered meanwhile, so batches are larger on a slower disk. When
a batch fails, every commit that is not on disk is lost: memory is dropped, the generation increases, and the requests
that wait for durability get Unavailable.

When it failed because nothing can be written (the disk is full, the file is damaged, the writer ended), new commits
are refused too, with the reason, until a trial write succeeds.

When the writer does not answer (the disk hangs, the process is stopped), no change is lost, but no request waits for it
longer than the bound: the waiting requests get Unavailable, and so do new commits until the writer answers.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from itertools import count
from typing import Final, Protocol

from shared.adapters.sqlite.schema import PROBE
from shared.adapters.sqlite.writer import CANNOT_WRITE, READY, Report, Statement, Writer
from shared.core.crash_points import reach
from shared.ports.documents import Unavailable
from shared.ports.lifecycle import Closed

log = logging.getLogger(__name__)
_END_SECONDS: Final = 60.0
_RESTART_SECONDS: Final = (0.0, 0.1, 0.5, 2.0, 5.0)
_TRIAL_SECONDS: Final = (0.1, 0.5, 1.0, 2.0, 5.0)
# A trial write is small: it could succeed on a disk without room for the next batch.
_LEAST_FREE_BYTES: Final = 4 * 1024 * 1024
# A timer that is later than this was delayed by this process (its event loop was blocked, or the process was stopped).
# The reports of the writer, which may have arrived meanwhile, are then read before the writer counts as late.
_DELAYED_SECONDS: Final = 1.0

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
    """Gathers changes into batches, submits them to the writer, and wakes the requests that wait for durability."""

    def __init__(
        self, make_writer: WriterFactory, free_bytes: Callable[[], int], *, interval: float, limit_bytes: int
    ) -> None:
        """`free_bytes` returns the free bytes of the disk. `interval` is the least time between two batches in
        seconds: at low load it joins commits into a batch. `limit_bytes` is the greatest size of the changes that
        wait for the writer; beyond it, commits wait."""
        self._make_writer = make_writer
        self._free_bytes = free_bytes
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
        self._touched_at = 0.0
        self._oldest_at = 0.0
        """The time of the first change of the batch in flight."""
        self._wait_seconds: float | None = None
        self._watching: asyncio.TimerHandle | None = None
        self._late = False
        self._gathered_bytes = 0
        self._gathering_waiters: list[asyncio.Future[None]] = []
        self._in_flight_waiters: list[asyncio.Future[None]] = []
        self._room_waiters: list[asyncio.Future[None]] = []
        self._recovery: asyncio.Task[None] | None = None
        self._trial: asyncio.Future[str | None] | None = None
        self._failures = 0
        self.refusing: str | None = None
        """The reason for which commits are refused now, or None."""
        self.is_closed = False
        self.generation = 0
        self.batches = 0

    async def start(self) -> None:
        """Open the writer. Raises WriterFailed or SchemaTooNew; `close` then ends the writer that was started."""
        await self._writer.start()

    def bound_waits(self, seconds: float) -> None:
        """Bound every wait for the writer to this time from now on, in seconds. Before (while the store is opened and
        its tables are created) a batch may take any time."""
        self._wait_seconds = seconds
        if self._watching is not None:
            self._watching.cancel()
            self._watch_at(self._loop.time())

    def add(self, part: Part) -> None:
        """Include a part's changes in every batch."""
        self._parts.append(part)

    def on_reset(self, callback: Callable[[], None]) -> None:
        """Call `callback` when commits are accepted again after they were refused or lost. Published events may be lost
        and deliveries may have failed meanwhile; the log shows both."""
        self._callbacks.append(callback)

    @property
    def full(self) -> bool:
        """Whether a new commit must call `room`, which waits or refuses it."""
        return self._gathered_bytes > self._limit_bytes or self.refusing is not None

    def refusal(self) -> Unavailable:
        """Return the error for a commit that cannot be accepted now."""
        return (Closed if self.is_closed else Unavailable)(self.refusing or "the store's writer is behind")

    async def room(self) -> None:
        """Wait until the writer has caught up. Raises Unavailable while there is no writer, and after the bound."""
        try:
            async with asyncio.timeout(self._wait_seconds):
                while self.full:
                    if self.refusing is not None:
                        raise self.refusal()
                    waiter: asyncio.Future[None] = self._loop.create_future()
                    self._room_waiters.append(waiter)
                    await waiter
        except TimeoutError:
            raise self.refusal() from None

    def touch(self, size: int) -> None:
        """Record that a part has new changes, of approximately `size` bytes, and schedule a batch."""
        self._gathered_bytes += size
        if not self._touched:
            self._touched = True
            self._touched_at = self._loop.time()
        if self._idle:
            self._schedule()

    async def durable(self) -> None:
        """Wait until all changes up to now are on disk.

        Raises Unavailable when they are lost, and when they are not on disk within the bound; then they may still be
        written later.
        """
        if self.refusing is not None:
            raise self.refusal()
        await self._written()

    async def _written(self) -> None:
        if self._touched:
            waiters = self._gathering_waiters
        elif self._in_flight:
            waiters = self._in_flight_waiters
        else:
            return
        waiter: asyncio.Future[None] = self._loop.create_future()
        waiters.append(waiter)
        await waiter

    async def close(self, seconds: float) -> str | None:
        """Write all remaining changes and close the writer, within `seconds`. Returns why some were not written, or
        None. A second call does nothing."""
        if self.is_closed:
            return None
        if self._recovery is not None:
            self._recovery.cancel()
        self._wait_seconds = None
        if self._watching is not None:
            self._watching.cancel()
        # While commits are refused, only acknowledgements are gathered: without them events are delivered again. A late
        # writer still has a batch.
        pending = self._late or (self.refusing is None and (self._in_flight or self._gathered_bytes > 0))
        wrong: str | None = None
        give_up = self._loop.time() + seconds
        try:
            async with asyncio.timeout_at(give_up):
                await (self._written() if self._late else self.durable())
        except Unavailable as error:
            wrong = str(error)
        except TimeoutError:
            wrong = f"the store's writer did not answer within {seconds:g} s"
        self.refusing, self.is_closed = "the store is closed", True
        if not await self._writer.close(max(0.0, give_up - self._loop.time())) and wrong is None:
            log.warning("the store's writer had written everything and was killed because it did not end")
        if wrong is not None and not pending:
            log.warning("the store is closed, and everything is written: %s", wrong)
            return None
        return wrong

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
        self._oldest_at = self._touched_at
        self._gathered_bytes = 0
        self._in_flight_waiters = self._gathering_waiters
        self._gathering_waiters = []
        self._number += 1
        self._last_flush = self._loop.time()
        reach("store.submitting")
        self._writer.submit(self._number, statements)
        _wake(self._room_waiters)
        if self._watching is None and self._wait_seconds is not None:
            self._watch_at(self._oldest_at + self._wait_seconds)

    def _watch_at(self, when: float) -> None:
        self._watching = self._loop.call_at(when, self._watch, when)

    def _watch(self, expected: float) -> None:
        """Check whether the batch in flight is older than the bound. One timer checks all batches."""
        self._watching = None
        if not self._in_flight or self._wait_seconds is None:
            return  # the next batch sets the timer again
        now = self._loop.time()
        due = self._oldest_at + self._wait_seconds
        if now < due:
            self._watch_at(due)
        elif now > expected + _DELAYED_SECONDS:
            self._watch_at(now + min(_DELAYED_SECONDS, self._wait_seconds))
        else:
            self._writer_is_late(self._wait_seconds)

    def _writer_is_late(self, seconds: float) -> None:
        """Refuse commits and wake the waiting requests. Their changes stay in memory and with the writer."""
        self._late = True
        self.refusing = (
            f"the store's writer has not written a batch within {seconds:g} s (LASTRO_STORE_SECONDS): its disk "
            "hangs or is too slow, or the writer's process is stopped"
        )
        log.error("%s; commits are refused until it answers", self.refusing)
        refusal = Unavailable(self.refusing)
        for waiters in (self._in_flight_waiters, self._gathering_waiters):
            _wake(waiters, refusal)
        _wake(self._room_waiters)

    def _reported(self, number: int, error: str | None) -> None:
        if number != self._number:
            return
        if self._trial is not None:
            if not self._trial.done():
                self._trial.set_result(error)
            return
        if not self._in_flight:
            return
        if error is not None:
            self._failed(error)
            return
        reach("store.durable")
        self._in_flight = False
        self._failures = 0
        self.batches += 1
        for part in self._parts:
            part.settled()
        _wake(self._in_flight_waiters)
        self._idle = True
        if self._late:
            self._late = False
            log.warning("the store's writer answers again, after %.1f s", self._loop.time() - self._oldest_at)
            self._go_on()
        elif self._touched:
            self._schedule()

    def _failed(self, error: str) -> None:
        if self._late:
            self._late = False
            self.refusing = None
        if error.startswith(CANNOT_WRITE):
            self.refusing = f"the store {error}"
            self._drop(self.refusing)
            self._recovery = self._loop.create_task(self._try_until_it_writes())
        else:
            self._drop(f"a batch could not be written: {error}")
            self._notify_reset()

    async def _try_until_it_writes(self) -> None:
        while True:
            await asyncio.sleep(_TRIAL_SECONDS[min(self._failures, len(_TRIAL_SECONDS) - 1)])
            self._failures += 1
            free = self._free_bytes()
            if free < _LEAST_FREE_BYTES:
                self.refusing = f"the store cannot write: its disk has {free} bytes free"
                continue
            self._number += 1
            self._trial = self._loop.create_future()
            self._writer.submit(self._number, [(PROBE, [], False)])
            error = await self._trial
            self._trial = None
            if error is None:
                break
            log.warning("the store still %s", error)
        log.warning("the store can write again")
        self._go_on()

    def _go_on(self) -> None:
        """Accept commits again, after a successful trial write or the report of a late writer."""
        self.refusing = self._recovery = None
        if self._touched:  # acknowledgements were accepted meanwhile and wait
            self._touched_at = self._loop.time()
            self._schedule()
        self._notify_reset()

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

    def _notify_reset(self) -> None:
        for callback in self._callbacks:
            callback()

    def _writer_lost(self) -> None:
        if self._recovery is not None:
            self._recovery.cancel()
        self._trial = None
        self._late = False
        self.refusing = "the store's writer ended, and a new one is not running yet"
        self._drop("the store's writer ended")
        self._recovery = self._loop.create_task(self._start_again())

    async def _start_again(self) -> None:
        await self._writer.close(_END_SECONDS)
        for attempt in count():
            await asyncio.sleep(_RESTART_SECONDS[min(attempt, len(_RESTART_SECONDS) - 1)])
            self._writer = self._make_writer(self._reported, self._writer_lost, True)
            try:
                await self._writer.start()
            except Exception as error:  # noqa: BLE001 - any error means that the store cannot write
                self.refusing = f"the store's writer ended, and a new one does not start: {error}"
                log.error("the store's writer does not start: %s", error)  # noqa: TRY400 - repeated often, so without frames
                await self._writer.close(_END_SECONDS)
                continue
            self._go_on()
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
