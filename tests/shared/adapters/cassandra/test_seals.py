"""Seals in a database of MongoDB's wire protocol, of a ledger on the real Cassandra."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from datetime import timedelta
from typing import Any, Final
from uuid import uuid4

import pytest

from shared.adapters.cassandra.driver import Connection
from shared.adapters.cassandra.store import CassandraStore
from shared.adapters.cassandra.url import CassandraUrl
from shared.adapters.mongodb.documents import MongoDocuments
from shared.adapters.mongodb.driver import Server
from shared.adapters.mongodb.encoding import key_of
from shared.context.ledger_seals import verify_seals
from shared.context.ledger_verification import LedgerDifference
from shared.records.catalogue import COLLECTIONS
from tests.functions.operations.test_seals import at, move, tick
from tests.harness import Harness
from tests.ports.mongodb_databases import dropped, migrated, new_database

_DESCRIBE: Final = "UPDATE {keyspace}.transfers SET description = ? WHERE tenant_id = ? AND transfer_id = ?"


@pytest.fixture
def database(mongodb_url: str) -> Iterator[str]:
    """The URL of a database with all collections."""
    url = new_database(mongodb_url)
    migrated(url, COLLECTIONS)
    yield url
    dropped(url)


@pytest.fixture
async def server(database: str) -> AsyncIterator[Server]:
    """The database, connected."""
    async with aclosing(Server(database)) as server:
        yield server


async def test_one_changed_byte_is_named(ledger_url: str, cassandra_ledger: CassandraStore, server: Server) -> None:
    """One byte that is changed in a transfer on Cassandra is named by its entry; one that is changed in a page of the
    seals on MongoDB is named by the page."""
    tenant = f"t-{uuid4().hex}"
    harness = Harness.make()
    documents = MongoDocuments(server, COLLECTIONS)
    harness.runtime.documents, harness.runtime.ledger = documents, cassandra_ledger
    await harness.tenant(tenant)
    for number in range(3):
        await move(harness, f"t{number}", at(1), tenant=tenant)
    harness.clock.advance(timedelta(days=1, hours=1))
    await tick(harness)
    assert (await verify_seals(documents, cassandra_ledger, tenant)).entries == 6

    url = CassandraUrl.parse(ledger_url)
    connection = await Connection.open(url)
    try:
        await connection.rows(_DESCRIBE, ("about T1", tenant, "t1"))
        said = f"{tenant}, account a, entry 2: it differs from the seal of 2026-01-01 (leg 0 of transfer t1)"
        with pytest.raises(LedgerDifference, match=re.escape(said)):
            await verify_seals(documents, cassandra_ledger, tenant)
        await connection.rows(_DESCRIBE, ("about t1", tenant, "t1"))
    finally:
        await connection.close()
    assert (await verify_seals(documents, cassandra_ledger, tenant)).entries == 6

    selected = {"_id": key_of(tenant, "b.0000000000000001")}
    found = await server.command({"find": "ledger_seal_pages", "filter": selected})
    page: Any = found["cursor"]["firstBatch"][0]
    rows = bytearray(b64decode(page["rows"]))
    rows[40] ^= 1
    update = {"q": selected, "u": {"$set": {"rows": b64encode(rows).decode()}}}
    assert (await server.command({"update": "ledger_seal_pages", "updates": [update]}))["n"] == 1
    with pytest.raises(
        LedgerDifference, match="account b: the page of the seal of 2026-01-01 from entry 1 was changed"
    ):
        await verify_seals(documents, cassandra_ledger, tenant)
