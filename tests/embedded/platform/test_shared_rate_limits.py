"""The rate limits of platforms that share a Redis."""

from __future__ import annotations

from pathlib import Path

import pytest
from redis import Redis

from shared.adapters.redis import server as redis_adapter
from shared.adapters.redis.rate_limits import RedisRateLimits
from shared.core.sliding_window import SECOND
from tests.contract.calling import Client, Deployment, running, still_clock
from tests.servers.processes import Processes
from tests.servers.redis_server import RedisServer

pytestmark = pytest.mark.real

LIMITED = {"id": "limited", "limits": {"requests_per_second": 5}}


@pytest.fixture(autouse=True)
def _long_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the window an hour, so that nothing leaves it on a slow machine."""

    def in_an_hour(server: redis_adapter.RedisServer, namespace: str) -> RedisRateLimits:
        return RedisRateLimits(server, namespace, window=3600 * SECOND)

    monkeypatch.setattr(redis_adapter, "RedisRateLimits", in_an_hour)


async def statuses(client: Client, number: int) -> list[int]:
    return [(await client.get("/v1/payments")).status for _ in range(number)]


async def metric(deployment: Deployment, name: str) -> int:
    """Return the value of a counter, 0 before its first use."""
    text = (await (await deployment.operator()).get("/metrics")).body.decode()
    return next((int(float(line.split()[-1])) for line in text.splitlines() if line.startswith(name)), 0)


async def test_two_platforms_share_a_tenants_limit(processes: Processes, tmp_path: Path) -> None:
    """Two platforms on one Redis admit a tenant's requests up to its limit together, with one command of Redis for a
    request that only reads. When Redis is killed, no request fails: each platform holds the limit by itself, and a
    metric says so."""
    server = RedisServer()
    server.install()
    url = server.start(processes)
    # With a stopped clock no schedule sends commands of its own.
    clock = still_clock()
    async with running(tmp_path / "a", clock, cache=url) as first, running(tmp_path / "b", clock, cache=url) as second:
        one, two = [await deployment.new_tenant(**LIMITED) for deployment in (first, second)]
        with Redis.from_url(url) as redis:
            assert await statuses(one, 1) == [200]
            redis.config_resetstat()
            assert await statuses(two, 2) == [200, 200]
            commands = {name: stats["calls"] for name, stats in redis.info("commandstats").items()}
        for own in ("cmdstat_config|resetstat", "cmdstat_info"):
            commands.pop(own, None)
        script = {"cmdstat_evalsha": 2, "cmdstat_get": 2, "cmdstat_set": 2, "cmdstat_time": 2}
        assert commands == script, "a script is one command; those that it calls are counted too"
        assert await statuses(one, 3) == [200, 200, 429]
        assert await statuses(two, 1) == [429]
        processes.kill("redis")
        for client, deployment in ((one, first), (two, second)):
            assert await metric(deployment, "lastro_rate_limits_held_locally_total") == 0
            assert (await client.get("/v1/payments")).status == 200
            assert await metric(deployment, "lastro_rate_limits_held_locally_total") >= 1
