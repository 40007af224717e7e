"""The append protocol for many callers of one process: callers that wait for the same account share a batch.

A batch takes three round trips, whatever the number of its lines. The throughput of a busy account therefore grows with
the number of waiting callers, and its sequence numbers stay without gaps.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from itertools import islice
from typing import Any, TypeVar

from shared.adapters.cassandra.protocol import BATCH_LINES, LedgerProtocol, Pause, Wanted, unfit
from shared.adapters.cassandra.tables import Head, Place, Position, Tables
from shared.ports.documents import Unavailable

T = TypeVar("T")
U = TypeVar("U")
Leg = tuple[str, int]
"""A leg of a transfer: the transfer's id and the leg's number."""


class _Queue:
    """The legs that wait for a line in one journal, in the order of their arrival."""

    def __init__(self, head: Head | None) -> None:
        self.head = head
        self.waiting: dict[Leg, tuple[Wanted, asyncio.Future[Position]]] = {}
        self.writer: asyncio.Task[None] | None = None

    def add(self, wanted: Wanted) -> asyncio.Future[Position]:
        """Return the future of the leg's position. A leg that is already in the queue is not added again."""
        waiting = self.waiting.get((wanted.transfer_id, wanted.leg))
        if waiting is None:
            waiting = wanted, asyncio.get_running_loop().create_future()
            self.waiting[wanted.transfer_id, wanted.leg] = waiting
        return waiting[1]

    def batch(self) -> list[Wanted]:
        return [wanted for wanted, _ in islice(self.waiting.values(), BATCH_LINES)]

    def done(self, positions: Iterable[Position]) -> None:
        for position in positions:
            _, future = self.waiting.pop((position.transfer_id, position.leg))
            if not future.done():
                future.set_result(position)

    def failed(self, batch: Iterable[Wanted], error: BaseException) -> None:
        for wanted in batch:
            _, future = self.waiting.pop((wanted.transfer_id, wanted.leg), (wanted, None))
            if future is not None and not future.done():
                future.set_exception(error)
                # If every caller was cancelled, the error has no receiver.
                future.exception()


class CombiningLedger(LedgerProtocol):
    """The protocol with one writer for each account that this process is writing to."""

    def __init__(self, tables: Tables, pause: Pause, *, bucket_lines: int | None = None) -> None:
        if bucket_lines is None:
            super().__init__(tables, pause)
        else:
            super().__init__(tables, pause, bucket_lines=bucket_lines)
        self._queues: dict[Place, _Queue] = {}

    async def drained(self, seconds: float) -> None:
        """Wait until every leg in the queue has a line or has failed, for at most this time. Then the queue is
        empty."""
        writers = [queue.writer for queue in self._queues.values() if queue.writer is not None]
        if writers:
            _, late = await asyncio.wait(writers, timeout=seconds)
            for writer in late:
                writer.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _post(self, place: Place, wanted: Sequence[Wanted], head: Head | None) -> Sequence[Position]:
        queue = self._queues.get(place)
        if queue is None:
            queue = self._queues[place] = _Queue(head)
        futures = [queue.add(leg) for leg in wanted]
        if queue.writer is None:
            queue.writer = asyncio.create_task(self._write(place, queue))
        # The writer completes a leg also when its caller stops waiting.
        return await asyncio.gather(*(asyncio.shield(future) for future in futures))

    async def _write(self, place: Place, queue: _Queue) -> None:
        """Write batches until no leg waits."""
        attempt = 0
        try:
            while queue.waiting:
                batch = queue.batch()
                try:
                    is_first = await self._write_batch(place, queue, batch)
                    attempt = 0 if is_first else attempt + 1
                    if attempt:
                        await self.again(place, attempt)
                except Exception as error:  # noqa: BLE001 - any error is passed to the callers of this batch
                    queue.head, attempt = None, 0
                    queue.failed(batch, error)
        finally:
            del self._queues[place]
            closed = Unavailable("the ledger was closed; the transfer is completed when it is requested again")
            queue.failed([wanted for wanted, _ in queue.waiting.values()], closed)

    async def _write_batch(self, place: Place, queue: _Queue, batch: Sequence[Wanted]) -> bool:
        """Try once to write a batch. Return False when another writer was faster, or the outcome is unknown."""
        head = queue.head
        if head is None:
            head = await self._settled_head(place)
        outcome = await self.round(head, batch)
        queue.head = outcome.head
        queue.done(outcome.done)
        for leg in outcome.unfit:
            queue.failed([leg], unfit(place, leg))
        return outcome.head is not None

    async def _both(self, first: Coroutine[Any, Any, T], second: Coroutine[Any, Any, U]) -> tuple[T, U]:
        both: tuple[T, U] = await asyncio.gather(first, second)
        return both

    async def _together(self, *steps: Coroutine[Any, Any, T]) -> Sequence[T]:
        return await asyncio.gather(*steps)
