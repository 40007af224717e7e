"""The behaviour of every adapter of the cache port. Each adapter's tests inherit it, with fixtures `cache` and
`clock`."""

from __future__ import annotations

from datetime import timedelta

from shared.core.clock import ManualClock
from shared.ports.cache import Cache

SECOND = timedelta(seconds=1)


class CacheSuite:
    """Behaviour of the cache port."""

    async def test_a_value_lives_for_its_time(self, cache: Cache, clock: ManualClock) -> None:
        """A value is stored for its lifetime, and a later value replaces it."""
        assert await cache.get("k") is None
        await cache.set("k", b"1", 10)
        await cache.set("k", b"2", 5)
        assert await cache.get("k") == b"2"
        clock.advance(5 * SECOND)
        assert await cache.get("k") is None

    async def test_a_lock_has_one_holder(self, cache: Cache) -> None:
        """A held lock is refused to others; after its release the next holder gets a greater token."""
        first = await cache.lock("k", 30)
        assert first is not None
        assert await cache.lock("k", 30) is None
        assert await cache.lock("other", 30) is not None
        await cache.unlock("k", first)
        second = await cache.lock("k", 30)
        assert second is not None
        assert second > first

    async def test_a_lock_expires(self, cache: Cache, clock: ManualClock) -> None:
        """An expired lock is given to the next caller, and its former holder cannot release it."""
        first = await cache.lock("k", 30)
        clock.advance(30 * SECOND)
        second = await cache.lock("k", 30)
        assert first is not None
        assert second is not None
        assert second > first
        await cache.unlock("k", first)
        assert await cache.lock("k", 30) is None

    async def test_lifetimes_do_not_depend_on_the_wall_clock(self, cache: Cache, clock: ManualClock) -> None:
        """A jump of the wall clock in either direction does not change the lifetime of a value or lock."""
        for number, step in enumerate((-3600 * SECOND, 3600 * SECOND, 7200 * SECOND)):
            key = f"k{number}"
            await cache.set(key, b"1", 10)
            assert await cache.lock(key, 10) is not None
            clock.jump(step)
            clock.advance(9 * SECOND)
            assert await cache.get(key) == b"1"
            assert await cache.lock(key, 10) is None
            clock.advance(SECOND)
            assert await cache.get(key) is None
            assert await cache.lock(key, 10) is not None

    async def test_deadlines_come_in_their_order(self, cache: Cache, clock: ManualClock) -> None:
        """`due` returns passed deadlines, earliest first and at most `limit`; they stay until they are unscheduled."""
        start = clock.now()
        for seconds, key in ((3, "c"), (1, "a"), (2, "b"), (9, "z")):
            await cache.schedule(key, start + seconds * SECOND)
        assert list(await cache.due(start, 10)) == []
        assert list(await cache.due(start + 5 * SECOND, 2)) == ["a", "b"]
        assert list(await cache.due(start + 5 * SECOND, 10)) == ["a", "b", "c"]
        await cache.unschedule("a")
        await cache.unschedule("nobody")
        assert list(await cache.due(start + 5 * SECOND, 10)) == ["b", "c"]

    async def test_a_deadline_can_be_moved(self, cache: Cache, clock: ManualClock) -> None:
        """A changed deadline is due only at its new time, however often it was changed."""
        start = clock.now()
        for seconds in (1, 5, 5, 2, 2):
            await cache.schedule("a", start + seconds * SECOND)
        assert list(await cache.due(start + SECOND, 10)) == []
        assert list(await cache.due(start + 2 * SECOND, 10)) == ["a"]
        await cache.schedule("a", start + 7 * SECOND)
        assert list(await cache.due(start + 6 * SECOND, 10)) == []
        assert list(await cache.due(start + 7 * SECOND, 10)) == ["a"]

    async def test_a_cleared_cache_is_empty(self, cache: Cache, clock: ManualClock) -> None:
        """After `clear` there are no values, locks or deadlines, and tokens still increase."""
        await cache.set("k", b"1", 100)
        token = await cache.lock("k", 100)
        await cache.schedule("k", clock.now())
        await cache.clear()
        assert await cache.get("k") is None
        assert list(await cache.due(clock.now(), 10)) == []
        again = await cache.lock("k", 100)
        assert token is not None
        assert again is not None
        assert again > token
