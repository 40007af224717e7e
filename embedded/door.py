"""The door: new work waits outside while enough is under way, each tenant in its turn."""

from __future__ import annotations

import asyncio

from embedded.fair_queue import FairQueue
from embedded.progress import Progress
from shared.problems import Problem


class Door:
    """Lets requests in while fewer than `limit` correlations are under way; `room` more may wait."""

    def __init__(self, progress: Progress, limit: int, room: int, patience_seconds: float) -> None:
        self._progress = progress
        self._limit = limit
        self._room = room
        self._patience_seconds = patience_seconds
        self._waiting: FairQueue[asyncio.Future[None]] = FairQueue()
        self._entering = 0
        progress.on_quiet = self._let_in

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    async def admit(self, tenant: str) -> None:
        """Return when there is room for one more of this tenant's requests.

        What the request sets going must be under way by its first suspension, or the door does not see it.
        Raises Problem `dependency_unavailable` (with Retry-After) when too many wait or the wait is too long.
        """
        if not self._waiting and len(self._progress) + self._entering < self._limit:
            return
        if len(self._waiting) >= self._room:
            raise _too_busy()
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.put(tenant, turn)
        try:
            await asyncio.wait_for(asyncio.shield(turn), self._patience_seconds)
        except TimeoutError:
            self._leave(tenant, turn)
            raise _too_busy() from None
        except asyncio.CancelledError:
            self._leave(tenant, turn)
            raise
        else:
            self._entering -= 1

    def _leave(self, tenant: str, turn: asyncio.Future[None]) -> None:
        """Give up a place in the queue, or the turn that came meanwhile."""
        if not self._waiting.remove(tenant, turn):
            self._entering -= 1
            self._let_in()

    def _let_in(self) -> None:
        while self._waiting and len(self._progress) + self._entering < self._limit:
            turn = self._waiting.take()
            self._entering += 1
            turn.set_result(None)


def _too_busy() -> Problem:
    return Problem(
        "dependency_unavailable", "Too much is under way; try again in a moment.", headers={"Retry-After": "1"}
    )
