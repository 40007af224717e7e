"""The limit of a tenant's requests per second."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from math import ceil
from typing import TYPE_CHECKING

from shared.core.flags import SHARED_RATE_LIMITS
from shared.core.problems import Problem
from shared.core.sliding_window import SECOND, Count, SlidingWindows
from shared.ports.documents import Unavailable

if TYPE_CHECKING:
    from shared.context.runtime import Runtime
    from shared.ports.rate_limits import RateLimits

log = logging.getLogger(__name__)

RateGate = Callable[[str, int | None], Awaitable[Mapping[str, str]]]
"""Counts a request against the rate limit of its tenant. Called with the tenant's id and its own limit (requests per
second, None for the default). Returns headers for the response, or raises Problem `rate_limited`."""


class TenantRateLimit:
    """A RateGate. Its counts are shared by all processes, where their cache is a server, and else this process's own.

    They are this process's own, too, for tenants without the flag `shared-rate-limits`, and while the server does not
    answer: the limit then holds for each process, and no request fails for it.
    """

    def __init__(self, runtime: Runtime, name: str, default: int | None) -> None:
        """`default` is the limit of tenants without their own, None for no limit. `name` says what is counted together;
        gates of one name share their counts."""
        self._runtime = runtime
        self._name = name
        self._default = default
        self._here = SlidingWindows()
        self._is_away = False

    async def __call__(self, tenant_id: str, own: int | None) -> Mapping[str, str]:
        """Count one request and return Kong's headers for the response.

        Raises Problem `rate_limited`, which has the same headers and Retry-After.
        """
        limit = own or self._default
        if limit is None:
            return {}
        runtime = self._runtime
        shared = runtime.rate_limits
        if shared is None or not runtime.flags.enabled(SHARED_RATE_LIMITS, tenant_id):
            count = self._count_here(tenant_id, limit)
        else:
            count = await self._count_together(shared, tenant_id, limit)
        if count.admitted:
            return _headers(limit, count.remaining)
        raise Problem(
            "rate_limited",
            f"The limit is {limit} requests per second.",
            headers={**_headers(limit, 0), "Retry-After": str(max(1, ceil(count.wait_seconds)))},
        )

    def _count_here(self, tenant_id: str, limit: int) -> Count:
        return self._here.take(tenant_id, limit, int(self._runtime.clock.monotonic() * SECOND))

    async def _count_together(self, shared: RateLimits, tenant_id: str, limit: int) -> Count:
        try:
            count = await shared.take(f"{self._name}:{tenant_id}", limit)
        except Unavailable as error:
            if not self._is_away:
                log.warning("each process holds the rate limits by itself: %s", error)
            self._is_away = True
            self._runtime.telemetry.count("rate_limits_held_locally")
            return self._count_here(tenant_id, limit)
        if self._is_away:
            log.info("all processes share the rate limits again")
        self._is_away = False
        return count


def _headers(limit: int, remaining: int) -> dict[str, str]:
    shown, left = str(limit), str(remaining)
    return {
        "ratelimit-limit": shown,
        "ratelimit-remaining": left,
        "ratelimit-reset": "1",
        "x-ratelimit-limit-second": shown,
        "x-ratelimit-remaining-second": left,
    }
