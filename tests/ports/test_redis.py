"""The cache and nonces ports on a real Redis."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from itertools import accumulate
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis import Redis

from shared.adapters.redis.address import read_address
from shared.adapters.redis.cache import RedisCache
from shared.adapters.redis.nonces import RedisNonces
from shared.adapters.redis.rate_limits import SCRIPT, RedisRateLimits
from shared.adapters.redis.server import RedisServer
from shared.core.clock import ManualClock
from shared.core.settings import Settings
from shared.core.sliding_window import GROUPS, Count, SlidingWindows
from shared.core.sliding_window import SECOND as SECOND_OF_A_WINDOW
from shared.ports.documents import Unavailable
from shared.ports.lifecycle import Closed, NotOpened
from shared.ports.nonces import Nonce
from tests.harness import ROOT
from tests.ports.cache_suite import SECOND, CacheSuite
from tests.ports.nonces_suite import NoncesSuite
from tests.ports.rate_limits_suite import RateLimitsSuite


class MovedClock(ManualClock):
    """A clock that shortens the expiry of every key of one namespace when it is advanced."""

    def __init__(self, url: str, namespace: str) -> None:
        super().__init__()
        self._client = Redis.from_url(url)
        self._namespace = namespace

    def advance(self, delta: timedelta) -> datetime:
        for key in self._client.scan_iter(f"{self._namespace}:*"):
            left = self._client.pttl(key)
            if left > 0:
                self._client.pexpire(key, max(0, left - delta // timedelta(milliseconds=1)))
        return super().advance(delta)


@pytest.fixture
def namespace() -> str:
    """Return a prefix of keys that no other test uses."""
    return f"test-{uuid4().hex}"  # its keys remain: the server stores nothing on disk


@pytest.fixture
def clock(redis_url: str, namespace: str) -> ManualClock:
    """Return a clock that changes the server's expiries, too."""
    return MovedClock(redis_url, namespace)


@pytest.fixture
async def server(redis_url: str, namespace: str, clock: ManualClock) -> AsyncIterator[RedisServer]:
    """Return an open adapter, with a namespace of its own."""
    async with RedisServer(read_address(f"{redis_url}?namespace={namespace}"), Settings(), clock) as opened:
        yield opened


class TestCache(CacheSuite):
    """The cache port on Redis."""

    @pytest.fixture
    def cache(self, server: RedisServer) -> RedisCache:
        return server.cache

    async def test_two_processes_share_locks_and_deadlines(
        self, cache: RedisCache, redis_url: str, namespace: str, clock: ManualClock
    ) -> None:
        """A lock that one connection holds is refused to another, which sees the same values and deadlines."""
        async with RedisServer(read_address(f"{redis_url}?namespace={namespace}"), Settings(), clock) as other:
            first = await cache.lock("k", 30)
            assert first is not None
            assert await other.cache.lock("k", 30) is None
            await other.cache.unlock("k", first)
            second = await other.cache.lock("k", 30)
            assert second is not None
            assert second > first
            await cache.schedule("d", clock.now())
            await cache.set("v", b"\x00\xff", 60)
            assert list(await other.cache.due(clock.now(), 1)) == ["d"]
            assert await other.cache.get("v") == b"\x00\xff"

    async def test_clear_leaves_other_namespaces(self, cache: RedisCache, redis_url: str) -> None:
        """`clear` removes the keys of its own namespace only."""
        other = f"other-{uuid4().hex}"
        with Redis.from_url(redis_url) as client:
            client.set(f"{other}:value:k", b"1")
            await cache.set("k", b"1", 60)
            await cache.clear()
            assert client.get(f"{other}:value:k") == b"1"
            client.delete(f"{other}:value:k")


class TestNonces(NoncesSuite):
    """The nonces port on Redis."""

    @pytest.fixture
    def nonces(self, server: RedisServer) -> RedisNonces:
        return server.nonces


class TestRateLimits(RateLimitsSuite):
    """The rate limits port on Redis. The window is long, because the server's expiry goes by the real time."""

    @pytest.fixture
    def window(self) -> timedelta:
        return timedelta(hours=1)

    @pytest.fixture
    def rate_limits(
        self, server: RedisServer, namespace: str, clock: ManualClock, window: timedelta
    ) -> RedisRateLimits:
        def now() -> int:
            return round(clock.monotonic() * SECOND_OF_A_WINDOW)

        return RedisRateLimits(server, namespace, window=window // timedelta(microseconds=1), now=now)

    async def test_the_counts_go_by_the_servers_clock(self, server: RedisServer, redis_url: str) -> None:
        """Without another clock the time is the server's, and the counts expire with their window."""
        rate_limits = server.rate_limits
        assert (await rate_limits.take("k", 20_000)).remaining == 19_999
        with Redis.from_url(redis_url) as client:
            (key,) = client.scan_iter(f"{server.cache._namespace}:rate:*")
            assert client.pttl(key) <= 1000

    @pytest.mark.parametrize("back", [timedelta(minutes=30), timedelta(hours=2)], ids=["less", "more than a window"])
    async def test_a_clock_that_goes_back(self, server: RedisServer, namespace: str, back: timedelta) -> None:
        """When the server's clock goes back, as at a failover, requests of the last window still count; those more than
        a window in the future are forgotten, so that a tenant is not blocked for long."""
        hour, now = 3600 * SECOND_OF_A_WINDOW, [10**15]
        rate_limits = RedisRateLimits(server, namespace, window=hour, now=lambda: now[0])
        for _ in range(2):
            assert (await rate_limits.take("k", 2)).admitted
        now[0] -= back // timedelta(microseconds=1)
        assert (await rate_limits.take("k", 2)).admitted is (back > timedelta(hours=1))

    @given(
        gaps=st.lists(st.integers(0, 200) | st.integers(0, 10_000), max_size=60),
        limits=st.lists(st.integers(1, 8), min_size=1, max_size=3),
    )
    @settings(deadline=None, max_examples=60)
    def test_the_script_counts_as_the_reference(self, redis_url: str, gaps: list[int], limits: list[int]) -> None:
        """For any times and limits, the script gives the counts that shared.core.sliding_window gives."""
        window, scale = 10_000, 3600 * SECOND_OF_A_WINDOW // 10_000
        reference = SlidingWindows(window * scale)
        with Redis.from_url(redis_url) as client:
            script, key = client.register_script(SCRIPT), f"test-{uuid4().hex}"
            for number, now in enumerate(accumulate(gaps)):
                limit, moment = limits[number % len(limits)], now * scale
                arguments = [limit, window * scale, window * scale // GROUPS, moment]
                admitted, remaining, wait = script(keys=[key], args=arguments)
                found = Count(bool(admitted), remaining, int(wait) / SECOND_OF_A_WINDOW)
                assert found == reference.take("k", limit, moment)

    async def test_two_processes_admit_the_limit_together(self, redis_url: str, namespace: str) -> None:
        """Two processes that send more than the limit at once admit together exactly the limit."""
        command = [sys.executable, str(ROOT / "tests/ports/counting_process.py"), redis_url, namespace, "500", "400"]
        processes = [
            await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdin=PIPE, stdout=PIPE) for _ in range(2)
        ]
        for process in processes:
            assert process.stdout is not None
            assert await process.stdout.readline() == b"ready\n"
        ended = await asyncio.gather(*(process.communicate(b"go\n") for process in processes))
        admitted = [int(output) for output, _ in ended]
        assert sum(admitted) == 500
        assert all(100 <= number <= 400 for number in admitted)


async def test_a_server_that_does_not_answer_is_named_without_its_password(unused_tcp_port: int) -> None:
    """Opening fails in one line that names the host and not the password."""
    settings = Settings(start_seconds=0.1, cache_seconds=0.2)
    adapter = RedisServer(read_address(f"redis://u:hidden@127.0.0.1:{unused_tcp_port}/0"), settings, ManualClock())
    with pytest.raises(NotOpened) as raised:
        async with adapter:
            raise AssertionError("there is no server")
    assert f"127.0.0.1:{unused_tcp_port}" in str(raised.value)
    assert "hidden" not in str(raised.value)
    assert "\n" not in str(raised.value)


async def test_a_lost_server_is_unavailable_and_nonces_are_left_to_the_commit(
    server: RedisServer, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a response the cache raises Unavailable, without a wait for a moment, and a nonce is accepted."""

    async def refused(*_: object, **__: object) -> None:
        raise ConnectionRefusedError("no server")

    monkeypatch.setattr(server.client, "execute_command", refused)
    with pytest.raises(Unavailable, match="no server"):
        await server.cache.get("k")
    with pytest.raises(Unavailable, match="did not answer a moment ago"):
        await server.cache.lock("k", 1)
    assert "no server. Locks and rate limits hold for each process by itself" in (server.impairment() or "")
    assert await server.nonces.use_once(Nonce("t", b"n", clock.now(), clock.now() + 300 * SECOND))


async def test_a_closed_adapter_says_so(server: RedisServer) -> None:
    """After closing, each port raises Closed."""
    await server.aclose()
    with pytest.raises(Closed):
        await server.cache.get("k")


async def test_a_command_waits_for_a_connection_a_bounded_time(redis_url: str) -> None:
    """Commands beyond the number of connections wait and succeed; one that finds no connection in `cache_seconds`
    raises Unavailable."""
    settings = Settings(cache_connections=2, cache_seconds=60.0)
    async with RedisServer(read_address(redis_url), settings, ManualClock()) as server:
        assert await asyncio.gather(*(server.cache.get("k") for _ in range(20))) == [None] * 20
    settings = Settings(cache_connections=1, cache_seconds=0.2)
    async with RedisServer(read_address(redis_url), settings, ManualClock()) as server:
        await server._connections.acquire()
        with pytest.raises(Unavailable, match="TimeoutError"):
            await server.cache.get("k")
        server._connections.release()
