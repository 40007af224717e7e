"""A Redis primary and replica with Sentinels, which fail over."""

from __future__ import annotations

import pytest

from tests.servers.processes import Processes
from tests.servers.redis_sentinel_server import PRIMARY, RedisSentinelServer, sentinels_of

pytestmark = pytest.mark.real


def test_the_sentinels_choose_another_primary(processes: Processes) -> None:
    """After SIGKILL to the primary, the Sentinels name the replica, which has the replicated data and accepts
    writes."""
    server = RedisSentinelServer()
    server.install()
    with sentinels_of(server.start(processes)) as sentinels:
        first = sentinels.discover_master(PRIMARY)
        with sentinels.master_for(PRIMARY) as client:
            client.set("before", "1")
            assert client.wait(1, 60_000) == 1

        processes.kill("redis1")

        def another() -> None:
            assert sentinels.discover_master(PRIMARY) != first
            with sentinels.master_for(PRIMARY) as client:
                client.set("after", "2")

        processes.wait_until(another, "another primary", may_have_ended=["redis1"])
        with sentinels.master_for(PRIMARY) as client:
            assert client.mget("before", "after") == [b"1", b"2"]
