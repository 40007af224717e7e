"""Counts the deliveries in progress, by the correlation id of the request that started them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Correlation:
    """The outstanding deliveries of one correlation id, and the callers that wait for the last of them."""

    __slots__ = ("id", "outstanding", "waiters")

    def __init__(self, id: str) -> None:
        self.id = id
        self.outstanding = 0
        self.waiters: list[asyncio.Future[None]] | None = None


class Progress:
    """Counts deliveries by correlation id.

    A delivery that waits for a distant retry is not counted, so it delays neither a client that waits for a response
    nor the admission queue (docs/decisions/0008).
    """

    __slots__ = ("_busy", "_idle_waiters", "on_quiet")

    def __init__(self) -> None:
        self._busy: dict[str, Correlation] = {}
        self._idle_waiters: list[asyncio.Future[None]] = []
        self.on_quiet: Callable[[], None] | None = None
        """Called each time that the last outstanding delivery of a correlation ends."""

    def __len__(self) -> int:
        """Return the number of correlations with outstanding deliveries."""
        return len(self._busy)

    def began(self, correlation_id: str, deliveries: int) -> Correlation:
        """Add outstanding deliveries. Return the correlation, for `ended`."""
        correlation = self._busy.get(correlation_id)
        if correlation is None:
            correlation = self._busy[correlation_id] = Correlation(correlation_id)
        correlation.outstanding += deliveries
        return correlation

    def ended(self, correlation: Correlation) -> None:
        """Remove one outstanding delivery. The last one wakes those that wait for the correlation to be quiet."""
        correlation.outstanding -= 1
        if correlation.outstanding > 0 or self._busy.get(correlation.id) is not correlation:
            return
        del self._busy[correlation.id]
        if correlation.waiters is not None:
            _release(correlation.waiters)
        if not self._busy:
            _release(self._idle_waiters)
        if self.on_quiet is not None:
            self.on_quiet()

    async def quiet(self, correlation_id: str, timeout_seconds: float) -> bool:
        """Wait until a correlation has no outstanding delivery. Return False when the timeout passes first."""
        correlation = self._busy.get(correlation_id)
        if correlation is None:
            return True
        if correlation.waiters is None:
            correlation.waiters = []
        return await _wait(correlation.waiters, timeout_seconds)

    async def idle(self, timeout_seconds: float) -> bool:
        """Wait until there is no outstanding delivery. Return False when the timeout passes first."""
        if not self._busy:
            return True
        return await _wait(self._idle_waiters, timeout_seconds)

    def clear(self) -> None:
        """Remove all deliveries and wake all waiting callers."""
        busy = list(self._busy.values())
        self._busy.clear()
        for correlation in busy:
            if correlation.waiters is not None:
                _release(correlation.waiters)
        _release(self._idle_waiters)
        if self.on_quiet is not None:
            self.on_quiet()


def _release(waiters: list[asyncio.Future[None]]) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(None)
    waiters.clear()


async def _wait(waiters: list[asyncio.Future[None]], timeout_seconds: float) -> bool:
    waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    waiters.append(waiter)
    try:
        async with asyncio.timeout(timeout_seconds):
            await waiter
    except TimeoutError:
        if waiter in waiters:
            waiters.remove(waiter)
        return False
    return True
