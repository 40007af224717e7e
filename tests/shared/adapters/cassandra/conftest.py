"""The ledger on the real Cassandra, with the keyspace that these tests share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from shared.adapters.cassandra.schema import migrate
from shared.adapters.cassandra.store import CassandraStore
from shared.adapters.cassandra.url import CassandraUrl


@pytest.fixture(scope="session")
def ledger_url(cassandra_url: str) -> str:
    """Return the URL of a keyspace with the ledger's tables."""
    asyncio.run(migrate(CassandraUrl.parse(cassandra_url), print))
    return cassandra_url


@pytest.fixture
async def cassandra_ledger(ledger_url: str) -> AsyncIterator[CassandraStore]:
    """The ledger on Cassandra. A test uses tenants of its own."""
    async with CassandraStore(ledger_url) as ledger:
        yield ledger
