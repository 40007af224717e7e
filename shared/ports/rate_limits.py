"""The rate limits port: counts of requests that several processes share."""

from __future__ import annotations

from typing import Protocol

from shared.core.sliding_window import Count


class RateLimits(Protocol):
    """Counts of requests per second, by key, in a sliding window (shared.core.sliding_window)."""

    async def take(self, key: str, limit: int) -> Count:
        """Count one request against a limit per second, unless the limit is reached. A refused request is not counted.

        Raises Unavailable when the counts cannot be reached. The caller then counts for itself.
        """
        ...
