"""Rate limits per tenant, as Kong's plugin implements them on one node: a token bucket with the requests of one
second."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from math import ceil
from typing import Final

from shared.core.problems import Problem

MAX_TENANTS: Final = 100_000


class RateLimits:
    """Counts requests per tenant. `default` is the limit (requests per second) of tenants without their own."""

    def __init__(self, default: int, seconds: Callable[[], float]) -> None:
        self._default = default
        self._seconds = seconds
        # Tenant → [tokens, time of the last count]. A tenant without an entry has a full bucket. When there are too
        # many entries, the one that was not used for longest is removed; its bucket is most likely full by then.
        self._buckets: OrderedDict[str, list[float]] = OrderedDict()

    def take(self, tenant_id: str, limit: int | None) -> dict[str, str]:
        """Count one request and return Kong's headers for the response.

        Raises Problem `rate_limited`, which has the same headers.
        """
        capacity = limit or self._default
        now = self._seconds()
        bucket = self._buckets.get(tenant_id)
        if bucket is None:
            bucket = self._buckets[tenant_id] = [float(capacity), now]
            if len(self._buckets) > MAX_TENANTS:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(tenant_id)
            gained = max(0.0, now - bucket[1]) * capacity
            bucket[0] = min(float(capacity), bucket[0] + gained)
            bucket[1] = now
        if bucket[0] < 1.0:
            wait = ceil((1.0 - bucket[0]) / capacity)
            raise Problem(
                "rate_limited",
                f"The limit is {capacity} requests per second.",
                headers={**_headers(capacity, 0), "Retry-After": str(max(1, wait))},
            )
        bucket[0] -= 1.0
        return _headers(capacity, int(bucket[0]))


def _headers(limit: int, remaining: int) -> dict[str, str]:
    shown, left = str(limit), str(remaining)
    return {
        "ratelimit-limit": shown,
        "ratelimit-remaining": left,
        "ratelimit-reset": "1",
        "x-ratelimit-limit-second": shown,
        "x-ratelimit-remaining-second": left,
    }
