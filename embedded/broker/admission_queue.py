"""The admission queue: a new request waits while too many requests are in progress. Tenants are served in turn."""

from __future__ import annotations

import asyncio

from embedded.broker.fair_queue import FairQueue
from embedded.broker.progress import Progress
from shared.core.problems import Problem


class AdmissionQueue:
    """Admits requests while fewer than `limit` correlations are in progress. At most `room` requests wait."""

    def __init__(self, progress: Progress, limit: int, room: int, patience_seconds: float) -> None:
        self._progress = progress
        self._limit = limit
        self._room = room
        self._patience_seconds = patience_seconds
        self._waiting: FairQueue[asyncio.Future[bool]] = FairQueue()
        self._entering = 0
        progress.on_quiet = self._admit_next

    @property
    def waiting(self) -> int:
        """The number of requests that wait."""
        return len(self._waiting)

    async def admit(self, tenant: str) -> None:
        """Wait until one more request of this tenant may start.

        The events that the request publishes must be counted in `Progress` before the request first suspends; otherwise
        the queue admits too many. Raises Problem `dependency_unavailable` (with Retry-After) when too many requests
        wait, or after too long a wait.
        """
        if not self._waiting and len(self._progress) + self._entering < self._limit:
            return
        if len(self._waiting) >= self._room:
            raise _too_busy()
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[bool] = loop.create_future()
        self._waiting.put(tenant, turn)
        patience = loop.call_later(self._patience_seconds, self._give_up, tenant, turn)
        try:
            let_in = await turn
        except asyncio.CancelledError:
            self._leave(tenant, turn)
            raise
        finally:
            patience.cancel()
        if not let_in:
            raise _too_busy()
        self._entering -= 1

    def _give_up(self, tenant: str, turn: asyncio.Future[bool]) -> None:
        if not turn.done():
            self._waiting.remove(tenant, turn)
            turn.set_result(False)

    def _leave(self, tenant: str, turn: asyncio.Future[bool]) -> None:
        """Handle that the client has disconnected: remove it from the queue, or pass its admission on to the next
        request."""
        if turn.cancelled():
            self._waiting.remove(tenant, turn)
        elif turn.result():
            self._entering -= 1
            self._admit_next()

    def _admit_next(self) -> None:
        while self._waiting and len(self._progress) + self._entering < self._limit:
            turn = self._waiting.take()
            if not turn.done():
                self._entering += 1
                turn.set_result(True)


def _too_busy() -> Problem:
    return Problem(
        "dependency_unavailable",
        "Too many requests are in progress. Try again in a second.",
        headers={"Retry-After": "1"},
    )
