"""The behaviour of the ledger port on the real Cassandra."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from uuid import uuid4

import pytest

from shared.adapters.cassandra.schema import migrate
from shared.adapters.cassandra.store import CassandraStore
from shared.adapters.cassandra.url import CassandraUrl
from shared.ports.ledger import AccountTurnover, Cause, Entry, RecordedTransfer, Refusal, Transfer
from tests.ports.ledger_suite import LedgerSuite
from tests.ports.lifecycle_suite import LifecycleSuite, Make, Uses
from tests.ports.port_uses import ledger_uses


@pytest.fixture(scope="session")
def ledger_url(cassandra_url: str) -> str:
    """Return the URL of a keyspace with the ledger's tables."""
    asyncio.run(migrate(CassandraUrl.parse(cassandra_url), print))
    return cassandra_url


class OwnTenants:
    """The ledger with tenants of one test: the server and its keyspace are shared."""

    def __init__(self, ledger: CassandraStore) -> None:
        self._ledger = ledger
        self._prefix = f"{uuid4()}/"

    async def append(self, transfer: Transfer, recorded_at: str) -> RecordedTransfer | Refusal:
        own = transfer._replace(tenant_id=self._prefix + transfer.tenant_id)
        return self._outside(await self._ledger.append(own, recorded_at))

    async def refuse(
        self, tenant_id: str, transfer_id: str, cause: Cause, reason: str, recorded_at: str
    ) -> RecordedTransfer | Refusal:
        outcome = await self._ledger.refuse(self._prefix + tenant_id, transfer_id, cause, reason, recorded_at)
        return self._outside(outcome)

    async def transfer(self, tenant_id: str, transfer_id: str) -> RecordedTransfer | None:
        found = await self._ledger.transfer(self._prefix + tenant_id, transfer_id)
        return None if found is None else replace(found, tenant_id=tenant_id)

    async def entries(self, tenant_id: str, account_id: str, after_sequence: int, limit: int) -> Sequence[Entry]:
        return await self._ledger.entries(self._prefix + tenant_id, account_id, after_sequence, limit)

    async def balance(self, tenant_id: str, account_id: str) -> int:
        return await self._ledger.balance(self._prefix + tenant_id, account_id)

    async def turnover(self, tenant_id: str) -> Sequence[AccountTurnover]:
        return await self._ledger.turnover(self._prefix + tenant_id)

    def _outside(self, outcome: RecordedTransfer | Refusal) -> RecordedTransfer | Refusal:
        tenant_id = outcome.tenant_id.removeprefix(self._prefix)
        if isinstance(outcome, Refusal):
            return outcome._replace(tenant_id=tenant_id)
        return replace(outcome, tenant_id=tenant_id)


class TestLedger(LedgerSuite):
    """The ledger port."""

    @pytest.fixture
    async def ledger(self, ledger_url: str) -> AsyncIterator[OwnTenants]:
        async with CassandraStore(ledger_url) as ledger:
            yield OwnTenants(ledger)


class TestLifecycle(LifecycleSuite):
    """The ledger on Cassandra."""

    @pytest.fixture
    async def make(self, ledger_url: str) -> AsyncIterator[Make]:
        # Threads that are not the adapter's: the event loop's executor would start a second one at any time, and the
        # driver's, for all connections of the process, ends some time after the last of them.
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        async with CassandraStore(ledger_url):
            yield lambda: CassandraStore(ledger_url)

    @pytest.fixture
    def uses(self) -> Uses:
        return ledger_uses
