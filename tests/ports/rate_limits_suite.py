"""The behaviour of every adapter of the rate limits port. Each adapter's tests inherit it, with fixtures `rate_limits`,
`clock` and `window`, the length of the window."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from shared.core.clock import ManualClock
from shared.ports.rate_limits import RateLimits


class RateLimitsSuite:
    """Behaviour of the rate limits port."""

    async def test_requests_up_to_the_limit_are_admitted(self, rate_limits: RateLimits, window: timedelta) -> None:
        """Requests are admitted up to the limit, with the number that remains; the next is told how long to wait."""
        counts = [await rate_limits.take("k", 3) for _ in range(3)]
        assert [(count.admitted, count.remaining) for count in counts] == [(True, 2), (True, 1), (True, 0)]
        refused = await rate_limits.take("k", 3)
        assert (refused.admitted, refused.remaining) == (False, 0)
        assert refused.wait_seconds == window.total_seconds()

    async def test_a_request_leaves_the_window_after_its_length(
        self, rate_limits: RateLimits, clock: ManualClock, window: timedelta
    ) -> None:
        """A request counts for the length of the window; refused requests do not count."""
        assert (await rate_limits.take("k", 2)).admitted
        clock.advance(window / 2)
        assert (await rate_limits.take("k", 2)).admitted
        for _ in range(5):
            refused = await rate_limits.take("k", 2)
            assert (refused.admitted, refused.wait_seconds) == (False, window.total_seconds() / 2)
        clock.advance(window / 2)
        assert (await rate_limits.take("k", 2)).remaining == 0
        assert not (await rate_limits.take("k", 2)).admitted
        clock.advance(window)
        assert (await rate_limits.take("k", 2)).remaining == 1

    async def test_keys_count_separately(self, rate_limits: RateLimits) -> None:
        """The limit of one key does not change with the requests of another."""
        assert (await rate_limits.take("a", 1)).admitted
        assert (await rate_limits.take("b", 1)).admitted
        assert not (await rate_limits.take("a", 1)).admitted

    async def test_a_changed_limit_holds_at_once(self, rate_limits: RateLimits, window: timedelta) -> None:
        """The requests of the window count against a limit that was raised or lowered meanwhile."""
        for _ in range(2):
            assert (await rate_limits.take("k", 2)).admitted
        assert (await rate_limits.take("k", 4)).remaining == 1
        refused = await rate_limits.take("k", 1)
        assert (refused.admitted, refused.wait_seconds) == (False, window.total_seconds())

    async def test_concurrent_requests_do_not_exceed_the_limit(self, rate_limits: RateLimits) -> None:
        """Of concurrent requests as many are admitted as the limit says."""
        counts = await asyncio.gather(*(rate_limits.take("k", 20) for _ in range(50)))
        assert sorted(count.remaining for count in counts if count.admitted) == list(range(20))
