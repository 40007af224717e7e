"""A Cassandra of this test's own, which is killed while the ledger is in use."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.adapters.cassandra.schema import migrate
from shared.adapters.cassandra.store import CassandraStore
from shared.adapters.cassandra.url import CassandraUrl
from shared.context.ledger_verification import verify_ledger
from shared.ports.documents import Unavailable
from tests.ports.ledger_suite import legs, recorded, transfer
from tests.servers.cassandra_server import CassandraServer
from tests.servers.processes import Processes
from tests.waiting import PATIENCE_SECONDS


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[tuple[Processes, str]]:
    """A Cassandra of this test's own, which may be killed."""
    processes = Processes(tmp_path / "cassandra")
    server = CassandraServer()
    server.install()
    try:
        yield processes, server.start(processes)
    finally:
        processes.stop()


@pytest.mark.real
@pytest.mark.timeout(3600)  # the server starts twice
async def test_a_killed_server_keeps_what_was_recorded(own_server: tuple[Processes, str]) -> None:
    """While the server is down, an append is Unavailable and the adapter has trouble; after its restart, all that
    was reported is there, and the rest is recorded once."""
    processes, url = own_server
    await migrate(CassandraUrl.parse(url), print)
    reported: list[str] = []

    async def record(ledger: CassandraStore, number: int) -> None:
        wanted = transfer(f"t{number:03}", *legs("a", "b", number + 1))
        reported.append((await recorded(ledger, wanted)).id)

    async with CassandraStore(url) as ledger:
        for number in range(20):
            await record(ledger, number)
        processes.kill("cassandra")
        with pytest.raises(Unavailable):
            await record(ledger, 20)
        assert await ledger.trouble() is not None
        processes.start_again("cassandra")
        await asyncio.to_thread(CassandraServer.wait_until_ready, processes, url)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await ledger.trouble() is not None:  # noqa: ASYNC110 - the server has no event for it
                await asyncio.sleep(0.1)
        for number in range(30):
            await record(ledger, number)
        assert set(reported) == {f"t{number:03}" for number in range(30)}
        assert (await verify_ledger(ledger, "ten_1")).entries == 60
