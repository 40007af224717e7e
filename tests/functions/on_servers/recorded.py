"""The harness of the inherited tests, on MongoDB, Cassandra, Redis and Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any, Final, cast

from shared.adapters.cassandra.driver import Connection
from shared.adapters.cassandra.store import CassandraStore
from shared.adapters.mongodb.driver import Server
from shared.adapters.mongodb.encoding import key_of
from shared.adapters.mongodb.schema import definitions
from shared.adapters.mongodb.store import MongoStore
from shared.bootstrap.process import Process
from shared.core.clock import ManualClock
from shared.core.envelope import Envelope
from shared.core.settings import Settings
from shared.ports.documents import Collection, Commit, D, Documents, InboxMarker, Query, ReadToken
from shared.records.catalogue import COLLECTIONS
from tests.harness import Harness
from tests.servers.stores import Urls

LEDGER_TABLES: Final = ("transfers", "journal", "positions", "days", "accounts")
_numbers = count(1)


class RecordedDocuments:
    """Documents on a server, and a record of what was committed there."""

    def __init__(self, documents: Documents, server: Server) -> None:
        self._documents = documents
        self._server = server
        self.commits: list[tuple[Any, ...]] = []
        """The writes of each commit, so that a test can search everything that was stored."""
        self.events: list[Envelope] = []

    @property
    def read_token(self) -> ReadToken | None:
        return self._documents.read_token

    @property
    def answers_at_once(self) -> bool:
        return self._documents.answers_at_once

    async def get(self, collection: Collection[D, ...], tenant_id: str, id: str) -> D | None:
        return await self._documents.get(collection, tenant_id, id)

    async def find(self, collection: Collection[D, ...], tenant_id: str | None, query: Query) -> Sequence[D]:
        return await self._documents.find(collection, tenant_id, query)

    async def seen(self, marker: InboxMarker) -> bool:
        return await self._documents.seen(marker)

    async def history(self, tenant_id: str, name: str, after: str | None, limit: int) -> Sequence[Envelope]:
        return await self._documents.history(tenant_id, name, after, limit)

    async def commit(self, commit: Commit) -> None:
        await self._documents.commit(commit)
        self.commits.append((commit.inserts, commit.replaces, commit.changes))
        self.events.extend(commit.events)

    async def durable(self, read_token: ReadToken | None = None) -> None:
        await self._documents.durable(read_token)

    async def unsent(self, older_than: str, limit: int) -> Sequence[Envelope]:
        return await self._documents.unsent(older_than, limit)

    async def mark_sent(self, events: Sequence[Envelope]) -> None:
        await self._documents.mark_sent(events)

    async def forget(self, collection: Collection[Any, ...], tenant_id: str, id: str, *fields: str) -> None:
        """Remove fields from a stored document."""
        unset = {"q": {"_id": key_of(tenant_id, id)}, "u": {"$unset": dict.fromkeys(fields, "")}}
        changed = await self._server.command({"update": collection.name, "updates": [unset]})
        assert changed["nModified"] == 1, changed


async def _empty(server: Server, ledger: Connection) -> None:
    """Delete everything that an earlier test has stored."""
    names = [definition.name for definition in definitions(COLLECTIONS)]
    everything: list[Any] = [{"q": {}, "limit": 0}]
    await asyncio.gather(*(server.command({"delete": name, "deletes": everything}) for name in names))
    # To truncate takes longer than most tests, and most record no transfer.
    for table in LEDGER_TABLES:
        if await ledger.rows(f"SELECT tenant_id FROM {{keyspace}}.{table} LIMIT 1", ()):
            await ledger.define(f"TRUNCATE {{keyspace}}.{table}")


@asynccontextmanager
async def on_servers(urls: Urls, data_dir: Path, settings: Settings | None = None) -> AsyncIterator[Harness]:
    """Create a harness without a tenant on the servers, which are emptied first, through the adapters that `lastro up`
    opens. What has no server here, such as the secrets, is in a directory."""
    # Redis forgets by time, so each test has names of its own.
    named = urls._replace(cache=f"{urls.cache}-{next(_numbers)}")._asdict()
    clock = ManualClock()
    async with Process((settings or Settings())._replace(data_dir=str(data_dir), **named), clock) as process:
        ports = await process.open_ports("thread")
        stores = {type(adapter): adapter for adapter in process._adapters.values()}
        server = cast("MongoStore", stores[MongoStore])._server
        await _empty(server, cast("CassandraStore", stores[CassandraStore])._connection)
        documents = RecordedDocuments(ports.documents, server)
        yield Harness.around(ports._replace(documents=documents), documents.events, clock, process.settings)
