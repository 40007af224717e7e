"""Redis behind Sentinels: what holds when its primary is killed."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import uuid4

import pytest

from shared.adapters.redis.address import read_address
from shared.adapters.redis.cache import RedisCache
from shared.adapters.redis.server import RedisServer
from shared.core.clock import ManualClock
from shared.core.settings import Settings
from shared.ports.documents import Unavailable
from tests.ports.cache_suite import CacheSuite
from tests.servers.processes import Processes
from tests.servers.redis_sentinel_server import PRIMARY, RedisSentinelServer, sentinels_of
from tests.waiting import PATIENCE_SECONDS

pytestmark = pytest.mark.real

SETTINGS = Settings(cache_seconds=2.0)


@pytest.fixture
def url(processes: Processes) -> str:
    """The URL of a Redis with a replica and three Sentinels."""
    server = RedisSentinelServer()
    server.install()
    return server.start(processes)


@asynccontextmanager
async def opened(url: str, clock: ManualClock | None = None) -> AsyncIterator[RedisServer]:
    """Open an adapter, as one process does."""
    async with RedisServer(read_address(url), SETTINGS, clock or ManualClock()) as server:
        yield server


async def answering(cache: RedisCache) -> None:
    """Wait until the cache can be written."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            await cache.set("answering", b"1", 60)
        except Unavailable:
            assert time.monotonic() < deadline, "no other primary was chosen"
            await asyncio.sleep(0.05)
        else:
            return


async def replicated(url: str) -> None:
    """Wait until the replica has what the primary has."""
    with sentinels_of(url) as sentinels, sentinels.master_for(PRIMARY) as client:
        assert await asyncio.to_thread(client.wait, 1, 60_000) == 1


class PrimaryClock(ManualClock):
    """A clock that shortens the expiry of every key of the present primary when it is advanced."""

    def __init__(self, url: str, namespace: str) -> None:
        super().__init__()
        self._url = url
        self._namespace = namespace

    def advance(self, step: timedelta) -> datetime:
        with sentinels_of(self._url) as sentinels, sentinels.master_for(PRIMARY) as client:
            for key in client.scan_iter(f"{self._namespace}:*"):
                left = client.pttl(key)
                if left > 0:
                    client.pexpire(key, max(0, left - step // timedelta(milliseconds=1)))
        return super().advance(step)


async def test_the_cache_behaves_the_same_before_and_after_a_failover(url: str, processes: Processes) -> None:
    """The whole behaviour of the cache port holds through Sentinels, and after SIGKILL to the primary with the same
    adapter; it goes on when the old primary is started again and becomes a replica."""
    namespace = f"test-{uuid4().hex}"
    clock = PrimaryClock(url, namespace)
    suite = CacheSuite()
    cases = [case for name, case in inspect.getmembers(suite, inspect.iscoroutinefunction) if name.startswith("test_")]
    assert len(cases) > 5

    async def everything(cache: RedisCache) -> None:
        for case in cases:
            await cache.clear()
            given = {"cache": cache, "clock": clock}
            await case(**{name: given[name] for name in inspect.signature(case).parameters})

    async with opened(f"{url}?namespace={namespace}", clock) as server:
        await everything(server.cache)
        processes.kill("redis1")
        await answering(server.cache)
        await everything(server.cache)
        processes.start_again("redis1")
        await answering(server.cache)
        await everything(server.cache)


async def test_a_replicated_lock_survives_a_failover(url: str, processes: Processes) -> None:
    """A lock that the replica has is still held after the failover; its holder can release it, and the next holder gets
    a greater token."""
    async with opened(url) as one, opened(url) as other:
        token = await one.cache.lock("k", 3600)
        assert token is not None
        await replicated(url)
        processes.kill("redis1")
        for server in (one, other):
            await answering(server.cache)
            assert await server.cache.lock("k", 3600) is None
        await one.cache.unlock("k", token)
        again = await other.cache.lock("k", 3600)
        assert again is not None
        assert again > token


@dataclass
class Fenced:
    """Resources that accept a write only with a token that is not below the greatest that they have seen."""

    granted: dict[str, list[int]] = field(default_factory=dict)
    """The tokens of each lock, in the order in which they were given."""
    overlapping: list[tuple[int, int]] = field(default_factory=list)
    """The tokens of an earlier and a later holder that had one lock at the same time."""
    refused: list[int] = field(default_factory=list)
    _holders: dict[str, set[int]] = field(default_factory=dict)
    _seen: dict[str, int] = field(default_factory=dict)

    @property
    def number(self) -> int:
        """How many locks were given."""
        return sum(map(len, self.granted.values()))

    def hold(self, key: str, token: int) -> None:
        """Begin to hold a lock."""
        holders = self._holders.setdefault(key, set())
        self.overlapping += [(holder, token) for holder in holders]
        holders.add(token)
        self.granted.setdefault(key, []).append(token)

    def write(self, key: str, token: int) -> None:
        """Write, unless a later holder has written."""
        if token < self._seen.get(key, 0):
            self.refused.append(token)
        else:
            self._seen[key] = token

    def give_back(self, key: str, token: int) -> None:
        """Stop holding a lock: its release is sent now."""
        self._holders[key].discard(token)


async def test_no_lock_is_held_twice_with_one_token(url: str, processes: Processes) -> None:
    """While processes take and release locks and the primary is killed, no token is given twice, and each is greater
    than those before it. Two hold a lock at once only if the failover lost it; the later one has the greater token."""
    resource, done = Fenced(), asyncio.Event()
    keys = [f"k{number}" for number in range(4)]

    async def worker(server: RedisServer) -> None:
        number = 0
        while not done.is_set():
            number += 1
            key = keys[number % len(keys)]
            try:
                token = await server.cache.lock(key, 3600)
                if token is None:
                    continue
                resource.hold(key, token)
                await asyncio.sleep(0.001)
                resource.write(key, token)
                resource.give_back(key, token)
                await server.cache.unlock(key, token)
            except Unavailable:
                await asyncio.sleep(0.02)

    async def given(number: int) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while resource.number < number:
            assert time.monotonic() < deadline, f"{resource.number} locks were given"
            await asyncio.sleep(0.01)

    async with opened(url) as one, opened(url) as other:
        workers = [asyncio.create_task(worker(server)) for server in (one, other) for _ in range(4)]
        await given(200)
        processes.kill("redis1")
        killed_at = time.time_ns() // 1000
        await answering(one.cache)
        # A lock whose release was lost stays held, so new ones are taken as well.
        keys += [f"new{number}" for number in range(4)]
        await given(resource.number + 400)
        done.set()
        await asyncio.gather(*workers)

    assert any(token > killed_at for key in keys for token in resource.granted.get(key, ()))
    for tokens in resource.granted.values():
        assert tokens == sorted(set(tokens))
    # A token is the time at which it was given, in microseconds.
    assert all(first <= killed_at < second for first, second in resource.overlapping)
    assert set(resource.refused) <= {first for first, _ in resource.overlapping}


async def test_more_requests_than_connections_wait_for_each_other(url: str) -> None:
    """Through Sentinels, too, requests beyond the number of connections wait for a connection and all succeed."""
    async with opened(url) as server:
        number = SETTINGS.cache_connections * 4
        await asyncio.gather(*(server.cache.set(f"k{each}", b"1", 60) for each in range(number)))
        found = await asyncio.gather(*(server.cache.get(f"k{each}") for each in range(number)))
        assert found == [b"1"] * number
