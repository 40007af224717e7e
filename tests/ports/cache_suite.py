"""What every adapter of the cache port does; each adapter's tests inherit it with `cache` and `clock` fixtures."""

from __future__ import annotations

from datetime import timedelta

from shared.core.clock import ManualClock
from shared.ports.cache import Cache

SECOND = timedelta(seconds=1)


class CacheSuite:
    """Behaviour of the cache port."""

    async def test_a_value_lives_for_its_time(self, cache: Cache, clock: ManualClock) -> None:
        """A value is there until its time is over, and replaced by a later one."""
        assert await cache.get("k") is None
        await cache.set("k", b"1", 10)
        await cache.set("k", b"2", 5)
        assert await cache.get("k") == b"2"
        clock.advance(5 * SECOND)
        assert await cache.get("k") is None

    async def test_a_lock_has_one_holder(self, cache: Cache) -> None:
        """While a lock is held nobody else gets it; let go, the next holder's token is greater."""
        first = await cache.lock("k", 30)
        assert first is not None
        assert await cache.lock("k", 30) is None
        assert await cache.lock("other", 30) is not None
        await cache.unlock("k", first)
        second = await cache.lock("k", 30)
        assert second is not None
        assert second > first

    async def test_a_lock_runs_out(self, cache: Cache, clock: ManualClock) -> None:
        """A lock whose time is over goes to the next; its late holder cannot take it away from them."""
        first = await cache.lock("k", 30)
        clock.advance(30 * SECOND)
        second = await cache.lock("k", 30)
        assert first is not None
        assert second is not None
        assert second > first
        await cache.unlock("k", first)
        assert await cache.lock("k", 30) is None

    async def test_lives_are_not_the_wall_clock_s(self, cache: Cache, clock: ManualClock) -> None:
        """A jump of the wall clock, either way, neither ends nor prolongs a value's or a lock's life."""
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
        """Passed deadlines are returned earliest first, bounded, and stay until they are unscheduled."""
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
        """A moved deadline counts at its new time only, however often it was set."""
        start = clock.now()
        for seconds in (1, 5, 5, 2, 2):
            await cache.schedule("a", start + seconds * SECOND)
        assert list(await cache.due(start + SECOND, 10)) == []
        assert list(await cache.due(start + 2 * SECOND, 10)) == ["a"]
        await cache.schedule("a", start + 7 * SECOND)
        assert list(await cache.due(start + 6 * SECOND, 10)) == []
        assert list(await cache.due(start + 7 * SECOND, 10)) == ["a"]

    async def test_a_wiped_cache_has_forgotten(self, cache: Cache, clock: ManualClock) -> None:
        """After `clear` there are no values, locks or deadlines, and tokens go on growing."""
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
