"""The adapter of LASTRO_LEDGER=cassandra://…: the ledger port on one connection."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from contextlib import AsyncExitStack
from random import Random

from shared.adapters.cassandra.cql import CqlTables
from shared.adapters.cassandra.driver import CONNECT_SECONDS, Connection
from shared.adapters.cassandra.ledger import CassandraLedger, Jitter
from shared.adapters.cassandra.schema import check_answer, check_version
from shared.adapters.cassandra.url import CassandraUrl
from shared.core.settings import InvalidSettings
from shared.ports.documents import Unavailable
from shared.ports.ledger import AccountTurnover, Cause, Entry, RecordedTransfer, Refusal, Transfer
from shared.ports.lifecycle import PROBE_SECONDS, Adapter, AdapterOptions, NotOpened, retry_at_start


class CassandraStore(Adapter):
    """The ledger port on Cassandra. It opens only when this version can use the tables of the keyspace."""

    adapter_name = "ledger on Cassandra"
    _connection: Connection
    _ledger: CassandraLedger

    def __init__(self, url: str, *, waits: bool = True) -> None:
        """`waits` says whether opening waits for a server that does not answer, for the time in the URL."""
        self._url = url
        self._waits = waits

    async def append(self, transfer: Transfer, recorded_at: str) -> RecordedTransfer | Refusal:
        self.require_open()
        return await self._ledger.append(transfer, recorded_at)

    async def refuse(
        self, tenant_id: str, transfer_id: str, cause: Cause, reason: str, recorded_at: str
    ) -> RecordedTransfer | Refusal:
        self.require_open()
        return await self._ledger.refuse(tenant_id, transfer_id, cause, reason, recorded_at)

    async def transfer(self, tenant_id: str, transfer_id: str) -> RecordedTransfer | None:
        self.require_open()
        return await self._ledger.transfer(tenant_id, transfer_id)

    async def entries(self, tenant_id: str, account_id: str, after_sequence: int, limit: int) -> Sequence[Entry]:
        self.require_open()
        return await self._ledger.entries(tenant_id, account_id, after_sequence, limit)

    async def balance(self, tenant_id: str, account_id: str) -> int:
        self.require_open()
        return await self._ledger.balance(tenant_id, account_id)

    async def turnover(self, tenant_id: str) -> Sequence[AccountTurnover]:
        self.require_open()
        return await self._ledger.turnover(tenant_id)

    async def _probe(self) -> None:
        await check_answer(self._connection)

    async def _open(self, closing: AsyncExitStack) -> None:
        connecting = asyncio.create_task(self._connected())
        # The driver connects in a thread, which continues when the waiting task is cancelled.
        closing.push_async_callback(_closed, connecting)
        try:
            self._connection = await asyncio.shield(connecting)
        except (InvalidSettings, Unavailable) as error:
            raise NotOpened(str(error)) from None
        waits = Jitter(Random())  # noqa: S311 - waiting times
        self._ledger = CassandraLedger(CqlTables(self._connection), waits)
        closing.push_async_callback(self._drained)

    async def _drained(self) -> None:
        """Wait for the lines that are being written."""
        await self._ledger.drained(self.close_seconds)

    async def _connected(self) -> Connection:
        """Return a connection that uses the keyspace. Raises InvalidSettings or Unavailable."""
        url = CassandraUrl.parse(self._url)
        connection = await self._reached(url)
        try:
            await check_version(connection, url)
        except BaseException:
            await connection.close()
            raise
        return connection

    async def _reached(self, url: CassandraUrl) -> Connection:
        """Connect. While no server answers, try again until the time has passed. Raises NotOpened."""

        def attempt() -> Awaitable[Connection]:
            self.require_open()
            return Connection.open(url, CONNECT_SECONDS if self._waits else PROBE_SECONDS)

        return await retry_at_start(attempt, "LASTRO_LEDGER", url.wait_seconds if self._waits else 0)


async def _closed(connecting: asyncio.Task[Connection]) -> None:
    """Close the connection when it has been opened."""
    await asyncio.wait((connecting,))
    if connecting.exception() is None:
        await connecting.result().close()


def cassandra_ledger(options: AdapterOptions) -> CassandraStore:
    """Return the ledger of the URL."""
    return CassandraStore(options.url, waits=options.waits)
