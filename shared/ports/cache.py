"""The cache port: a fast path for locks and deadlines. Losing its content costs time and never money."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol


class Cache(Protocol):
    """Short-lived state shared by the functions."""

    async def get(self, key: str) -> bytes | None:
        """Return the value, or None when there is none or it has expired."""
        ...

    async def set(self, key: str, value: bytes, ttl_seconds: float) -> None:
        """Store a value, which expires after a time in seconds."""
        ...

    async def lock(self, key: str, ttl_seconds: float) -> int | None:
        """Take a lock. Return its fencing token, which grows with each holder, or None when the lock is held."""
        ...

    async def unlock(self, key: str, token: int) -> None:
        """Release a lock, unless it has another holder by now."""
        ...

    async def schedule(self, key: str, due: datetime) -> None:
        """Set the deadline of a key, or move it when there is one."""
        ...

    async def unschedule(self, key: str) -> None:
        """Remove the deadline of a key. Without effect when there is none."""
        ...

    async def due(self, now: datetime, limit: int) -> Sequence[str]:
        """Return passed deadlines, earliest first. They stay until they are removed or moved."""
        ...

    async def clear(self) -> None:
        """Remove everything, as a restart of the cache does."""
        ...
