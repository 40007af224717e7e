"""The tasks that deliver events. Usually one of them does all the work; another one starts while that one is
suspended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from contextvars import Context
from time import perf_counter
from typing import Any, Final, Protocol

from embedded.broker.delivery import Answer
from embedded.broker.driving import go_on
from embedded.broker.state import Delivery
from shared.telemetry.log_lines import current_run

log = logging.getLogger(__name__)
_POLL_SECONDS: Final = 0.01


class Source(Protocol):
    """Provides the deliveries and handles their outcomes."""

    def has_ready(self) -> bool:
        """Return whether there may be a delivery to take."""
        ...

    def next_delivery(self) -> Delivery | None:
        """Return the next delivery; None when there is none now."""
        ...

    def begin(self, delivery: Delivery) -> Coroutine[Any, Any, Answer | None]:
        """Begin an attempt. The coroutine returns the response, or it returns None or raises when there is none."""
        ...

    def done(self, delivery: Delivery, answer: Answer | None) -> Coroutine[Any, Any, None] | None:
        """Handle the outcome of an attempt, now or in the returned coroutine."""
        ...


class Workers:
    """At most `limit` workers. Each suspended delivery occupies one."""

    def __init__(self, source: Source, limit: int, slice_seconds: float) -> None:
        self.source = source
        self.slice_seconds = slice_seconds
        self._limit = limit
        self._all: set[Worker] = set()
        self._parked: list[Worker] = []
        self.suspended = 0

    @property
    def busy(self) -> bool:
        """Whether a worker is not parked."""
        return len(self._parked) < len(self._all)

    def wake(self) -> None:
        """Let a worker take the next delivery, if no worker is about to."""
        if len(self._all) - len(self._parked) > self.suspended or not self.source.has_ready():
            return
        if self._parked:
            self._parked.pop().wake()
        elif len(self._all) < self._limit:
            self._all.add(Worker(self))

    def park(self, worker: Worker) -> None:
        """Suspend a worker until a delivery needs it."""
        self._parked.append(worker)

    def abandon(self) -> list[asyncio.Task[None]]:
        """Cancel all workers now; their deliveries have no outcome. Return the tasks that are ending."""
        workers, self._all = self._all, set()
        self._parked = []
        self.suspended = 0
        for worker in workers:
            worker.abandoned = True
            worker.task.cancel()
        return [worker.task for worker in workers]

    async def settle(self, grace_seconds: float) -> None:
        """Wait for deliveries in flight, at most `grace_seconds`, while the source returns no others."""
        deadline = asyncio.get_running_loop().time() + grace_seconds
        while self.busy and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110 - rarely, and not for long
            await asyncio.sleep(_POLL_SECONDS)

    async def close(self, grace_seconds: float) -> None:
        """Wait for deliveries in flight, at most `grace_seconds`, then end all workers."""
        await self.settle(grace_seconds)
        await asyncio.gather(*self.abandon(), return_exceptions=True)


class Worker:
    """One task that makes one delivery after the other."""

    __slots__ = ("_loop", "_timed_out", "_wake", "_workers", "abandoned", "task")

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._loop = asyncio.get_running_loop()
        self._wake: asyncio.Future[None] | None = None
        self._timed_out = False
        self.abandoned = False
        # An empty context: a worker may be started by any request, and its log lines do not belong to that request.
        self.task = self._loop.create_task(self._work(), context=Context())

    def wake(self) -> None:
        """Let a parked worker take the next delivery. No effect on a worker that is not parked."""
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    async def _work(self) -> None:
        source, slice_seconds = self._workers.source, self._workers.slice_seconds
        until = perf_counter() + slice_seconds
        while not self._is_abandoned():
            delivery = source.next_delivery()
            if delivery is None:
                self._wake = self._loop.create_future()
                self._workers.park(self)
                await self._wake
                until = perf_counter() + slice_seconds
                continue
            try:
                work = source.begin(delivery)
                try:
                    waiting_for = work.send(None)
                except StopIteration as finished:
                    answer = finished.value
                except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - see _note_failure
                    answer = None
                    self._note_failure(error, delivery)
                else:
                    answer = await self._rest(work, waiting_for, delivery)
                    if self._is_abandoned():
                        return
                conclusion = source.done(delivery, answer)
                if conclusion is not None:
                    with _lines_of(delivery):
                        await conclusion
            except Exception:
                with _lines_of(delivery):
                    log.exception("the broker failed to deliver %s; the event stays in the log", delivery.envelope.id)
            if perf_counter() >= until:
                await asyncio.sleep(0)
                until = perf_counter() + slice_seconds

    async def _rest(
        self, work: Coroutine[Any, Any, Answer | None], waiting_for: Any, delivery: Delivery
    ) -> Answer | None:
        """Await the response of a suspended attempt. Return None when it takes longer than the subscription allows."""
        handle = self._loop.call_later(delivery.subscription.plan.policy.timeout, self._expire)
        self._workers.suspended += 1
        self._workers.wake()
        try:
            return await go_on(work, waiting_for)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - see _note_failure
            self._note_failure(error, delivery)
            return None
        finally:
            self._resumed(handle)

    def _is_abandoned(self) -> bool:
        return self.abandoned

    def _note_failure(self, error: BaseException, delivery: Delivery) -> None:
        """Log an exception of an invocation. Every exception counts as a network error.

        This includes a cancellation of the handler. Raises the cancellation of this task itself.
        """
        if not isinstance(error, asyncio.CancelledError):
            reason = type(error).__name__
        elif self._timed_out or not self.task.cancelling():
            reason = "too late" if self._timed_out else "canceled"
        else:
            raise error
        with _lines_of(delivery):
            log.warning("no answer: %s", reason)

    def _resumed(self, handle: asyncio.TimerHandle) -> None:
        handle.cancel()
        if not self.abandoned:
            self._workers.suspended -= 1
        if self._timed_out:
            self._timed_out = False
            self.task.uncancel()

    def _expire(self) -> None:
        self._timed_out = True
        self.task.cancel()


@contextmanager
def _lines_of(delivery: Delivery) -> Iterator[None]:
    """Add the consumer, the tenant and the request of a delivery to the lines that are logged in this context."""
    envelope = delivery.envelope
    run = (delivery.subscription.plan.consumer, envelope, envelope.extensions.get("traceparent", ""))
    outer = current_run.set(run)
    try:
        yield
    finally:
        current_run.reset(outer)
