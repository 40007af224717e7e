"""Three nodes of Cassandra, one of which is killed while two processes record transfers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.adapters.cassandra.schema import migrate
from shared.adapters.cassandra.store import CassandraStore
from shared.adapters.cassandra.url import CassandraUrl
from shared.context.ledger_verification import Verified, verify_ledger
from tests.servers.cassandra_server import CassandraClusterServer
from tests.servers.processes import Processes
from tests.shared.adapters.cassandra.appending import COUNT, KILLED_AFTER, appending, printed


@pytest.fixture
def own_cluster(tmp_path: Path) -> Iterator[tuple[Processes, str]]:
    """Three nodes of this test only, because one of them is killed."""
    processes = Processes(tmp_path / "cassandra")
    server = CassandraClusterServer()
    server.install()
    try:
        yield processes, server.start(processes)
    finally:
        processes.stop()


@pytest.mark.real
@pytest.mark.timeout(3600)  # three nodes start, one after another on a slow machine
async def test_a_killed_node_loses_nothing(own_cluster: tuple[Processes, str]) -> None:
    """After one of three nodes is killed, both processes record the remaining transfers on the other two: each leg
    once, without a difference in the ledger."""
    processes, url = own_cluster
    await migrate(CassandraUrl.parse(url), print)
    with appending(url, "ten_1", "x") as first, appending(url, "ten_1", "y") as second:
        reported = await asyncio.to_thread(printed, first, KILLED_AFTER)
        processes.kill("cassandra2")
        reported += await asyncio.to_thread(printed, first, COUNT - KILLED_AFTER)
        reported += await asyncio.to_thread(printed, second)
    assert sorted(reported) == sorted(f"{name}{number:04}" for name in "xy" for number in range(COUNT))
    async with CassandraStore(url) as ledger:
        assert await verify_ledger(ledger, "ten_1") == Verified(accounts=2, entries=4 * COUNT)
