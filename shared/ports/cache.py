"""The cache port: the fast path for locks, nonces and deadlines. Losing it all costs time, never money."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol


class Cache(Protocol):
    """Short-lived state shared by the functions."""

    async def get(self, key: str) -> bytes | None:
        """The value, unless it has expired."""
        ...

    async def set(self, key: str, value: bytes, ttl_seconds: float) -> None:
        """Keep a value for a while."""
        ...

    async def lock(self, key: str, ttl_seconds: float) -> int | None:
        """Take a lock and return its fencing token, which grows with each holder; None when it is held."""
        ...

    async def unlock(self, key: str, token: int) -> None:
        """Let a lock go, unless another holder has it by now."""
        ...

    async def use_once(self, tenant_id: str, nonce: bytes, issued_at: datetime, expires_at: datetime) -> bool:
        """Use a nonce up: True the first time, False ever after, until `expires_at`. Survives a restart once
        `Documents.durable` has returned. Raises Unavailable when that cannot be promised."""
        ...

    async def schedule(self, key: str, due: datetime) -> None:
        """Set or move a deadline."""
        ...

    async def unschedule(self, key: str) -> None:
        """Forget a deadline."""
        ...

    async def due(self, now: datetime, limit: int) -> Sequence[str]:
        """Deadlines that have passed, earliest first; they stay until unscheduled or moved."""
        ...

    async def clear(self) -> None:
        """Forget everything but the used nonces (what a restart of the cache does)."""
        ...
