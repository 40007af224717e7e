"""Locks, deadlines and short-lived values in this process's memory: the cache port.

The lifetimes of values and locks are measured by the monotonic clock; deadlines are wall times, as in the documents.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from shared.core.clock import Clock
from shared.ports.documents import Unavailable
from shared.ports.lifecycle import Adapter, AdapterOptions

_STALE_FACTOR: Final = 2
_STALE_LEAST: Final = 1024


class LocalCache(Adapter):
    """The cache port in memory. At the bound, the oldest values are dropped, a lock is refused, and a new deadline
    raises Unavailable."""

    adapter_name = "cache"

    def __init__(self, clock: Clock, *, values: int, deadlines: int) -> None:
        self._clock = clock
        self._limit = values
        self._deadline_limit = deadlines
        self._values: dict[str, tuple[bytes, float]] = {}
        self._locks: dict[str, tuple[int, float, float]] = {}
        self._due: dict[str, datetime] = {}
        self._heap: list[tuple[datetime, str]] = []
        # Microseconds since 1970, so that tokens still increase after a restart, which loses the locks.
        self._token = int(clock.now().timestamp() * 1_000_000)

    async def get(self, key: str) -> bytes | None:
        self.require_open()
        found = self._values.get(key)
        if found is None:
            return None
        if found[1] <= self._clock.monotonic():
            del self._values[key]
            return None
        return found[0]

    async def set(self, key: str, value: bytes, ttl_seconds: float) -> None:
        self.require_open()
        self._values.pop(key, None)
        if len(self._values) >= self._limit:
            self._make_room()
        self._values[key] = (value, self._clock.monotonic() + ttl_seconds)

    def _make_room(self) -> None:
        now = self._clock.monotonic()
        kept = {key: held for key, held in self._values.items() if held[1] > now}
        for key in list(kept)[: max(0, len(kept) - self._limit * 9 // 10)]:
            del kept[key]
        self._values = kept

    async def lock(self, key: str, ttl_seconds: float) -> int | None:
        self.require_open()
        now = self._clock.monotonic()
        held = self._locks.get(key)
        if held is not None:
            if not _over(held, now):
                return None
        elif len(self._locks) >= self._limit:
            self._locks = {name: other for name, other in self._locks.items() if not _over(other, now)}
            if len(self._locks) >= self._limit:
                return None
        self._token = token = self._token + 1
        self._locks[key] = (token, now, ttl_seconds)
        return token

    async def unlock(self, key: str, token: int) -> None:
        self.require_open()
        held = self._locks.get(key)
        if held is not None and held[0] == token:
            del self._locks[key]

    async def schedule(self, key: str, due: datetime) -> None:
        self.require_open()
        if key not in self._due and len(self._due) >= self._deadline_limit:
            raise Unavailable(f"there are {self._deadline_limit} deadlines already")
        self._due[key] = due
        heapq.heappush(self._heap, (due, key))
        if len(self._heap) > _STALE_LEAST + _STALE_FACTOR * len(self._due):
            self._heap = [(moment, name) for name, moment in self._due.items()]
            heapq.heapify(self._heap)

    async def unschedule(self, key: str) -> None:
        self.require_open()
        self._due.pop(key, None)

    async def due(self, now: datetime, limit: int) -> Sequence[str]:
        self.require_open()
        found: list[tuple[datetime, str]] = []
        heap = self._heap
        while heap and heap[0][0] <= now and len(found) < limit:
            item = heapq.heappop(heap)
            # The heap still has the old entry of a deadline that was changed or removed.
            if self._due.get(item[1]) == item[0] and (not found or found[-1] != item):
                found.append(item)
        for item in found:
            heapq.heappush(heap, item)
        return [key for _, key in found]

    async def clear(self) -> None:
        self.require_open()
        self._values.clear()
        self._locks.clear()
        self._due.clear()
        self._heap.clear()


def _over(held: tuple[int, float, float], now: float) -> bool:
    return now - held[1] >= held[2]


def local_cache(options: AdapterOptions) -> LocalCache:
    """Return an empty cache with the bounds of the settings."""
    settings = options.settings
    return LocalCache(options.clock, values=settings.cache_entries, deadlines=settings.cache_deadlines)
