"""Connections to the real Cassandra that are cut while transfers are recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from uuid import uuid4

from shared.adapters.cassandra.cql import CqlTables
from shared.adapters.cassandra.driver import Connection
from shared.adapters.cassandra.tables import Head, Line, OutcomeUnknown
from shared.adapters.cassandra.url import CassandraUrl
from shared.context.ledger_verification import Verified, verify_ledger
from shared.ports.documents import Unavailable
from shared.ports.ledger import LedgerStore, Transfer
from tests.ports.ledger_suite import legs, recorded, transfer
from tests.servers.toxiproxy_server import Proxy
from tests.shared.adapters.cassandra.failing_processes import ledger_on
from tests.waiting import PATIENCE_SECONDS

ROUNDS = 6
TRANSFERS = 10
RETRY_SECONDS = 0.05


class CutTables(CqlTables):
    """The tables on a connection through a proxy, which is cut when asked for: during the next batch of lines."""

    def __init__(self, connection: Connection, proxy: Proxy) -> None:
        super().__init__(connection)
        self._requests = connection
        self._proxy = proxy
        self.is_cut_next = False
        self.unknown = 0
        """How many batches had an unknown outcome."""

    async def append_lines(self, before: Head, after: Head, lines: Sequence[Line]) -> bool:
        if not self.is_cut_next:
            return await super().append_lines(before, after, lines)
        self.is_cut_next = False
        # The server gets the batch, and its response is dropped.
        await asyncio.to_thread(self._proxy.add, "timeout", timeout=0)
        sent = self._requests.requests
        writing = asyncio.create_task(super().append_lines(before, after, lines))
        while self._requests.requests == sent and not writing.done():  # noqa: ASYNC110 - the driver has no event for it
            await asyncio.sleep(0)
        await asyncio.to_thread(self._proxy.cut)
        try:
            return await writing
        except OutcomeUnknown:
            self.unknown += 1
            raise
        finally:
            await asyncio.to_thread(self._proxy.restore)


async def record(ledger: LedgerStore, wanted: Transfer) -> None:
    """Record a transfer; while the server does not answer, again."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            try:
                await recorded(ledger, wanted)
            except Unavailable:
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return


async def test_cut_connections_leave_one_line_for_each_leg(ledger_url: str, toxiproxy_url: str) -> None:
    """Connections are cut while the server executes a batch: its outcome is unknown, and each leg has one line."""
    parsed, tenant_id = CassandraUrl.parse(ledger_url), f"{uuid4()}"
    [(host, port)] = parsed.hosts
    with Proxy(toxiproxy_url, f"{host}:{port}") as proxy:
        proxied, _, proxied_port = proxy.address.partition(":")
        connection = await Connection.open(replace(parsed, hosts=((proxied, int(proxied_port)),)))
        tables = CutTables(connection, proxy)
        try:
            ledger = ledger_on(tables)
            # Prepares every statement.
            await record(ledger, transfer("first", *legs("a", "b", 5), tenant_id=tenant_id))
            for turn in range(ROUNDS):
                tables.is_cut_next = True
                ids = (f"t{turn}{number}" for number in range(TRANSFERS))
                batch = [transfer(id, *legs("a", "b", 5), tenant_id=tenant_id) for id in ids]
                await asyncio.gather(*(record(ledger, each) for each in batch))
            assert tables.unknown == ROUNDS
            entries = 2 * ROUNDS * TRANSFERS + 2
            assert await verify_ledger(ledger, tenant_id) == Verified(accounts=2, entries=entries)
        finally:
            await connection.close()
