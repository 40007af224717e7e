"""The ports on the embedded store, with the writer in a thread and in a process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from shared.adapters.memory.local_cache import LocalCache
from shared.adapters.sqlite.documents import SqliteDocuments
from shared.adapters.sqlite.ledger import SqliteLedger
from shared.adapters.sqlite.nonces import SqliteNonces
from shared.adapters.sqlite.store import SqliteStore
from shared.core.clock import ManualClock
from shared.core.settings import Settings
from shared.ports.nonces import Nonce
from tests.ports.cache_suite import CacheSuite
from tests.ports.documents_suite import COLLECTIONS, DocumentsSuite
from tests.ports.ledger_suite import LedgerSuite
from tests.ports.nonces_suite import NoncesSuite


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def threaded(tmp_path: Path, clock: ManualClock) -> AsyncIterator[SqliteStore]:
    """A store with the writer in a thread, which caches at most two documents and accounts."""
    settings = Settings(document_cache_entries=2, store_batch_seconds=0.0)
    store = await SqliteStore.open(
        tmp_path / "data", collections=COLLECTIONS, settings=settings, clock=clock, writer="thread"
    )
    yield store
    await store.close()


@pytest.fixture
async def processed(tmp_path: Path, clock: ManualClock) -> AsyncIterator[SqliteStore]:
    """A store with a writer process, as in the platform."""
    store = await SqliteStore.open(
        tmp_path / "data", collections=COLLECTIONS, settings=Settings(), clock=clock, writer="process"
    )
    yield store
    await store.close()


class TestDocumentsThread(DocumentsSuite):
    """The documents port, when nearly every document must be read from disk."""

    @pytest.fixture
    def documents(self, threaded: SqliteStore) -> SqliteDocuments:
        return threaded.documents


class TestDocumentsProcess(DocumentsSuite):
    """The documents port, when nearly every document is in memory."""

    @pytest.fixture
    def documents(self, processed: SqliteStore) -> SqliteDocuments:
        return processed.documents


class TestLedgerThread(LedgerSuite):
    """The ledger port, when nearly every account's last entry must be read from disk."""

    @pytest.fixture
    def ledger(self, threaded: SqliteStore) -> SqliteLedger:
        return threaded.ledger


class TestLedgerProcess(LedgerSuite):
    """The ledger port, when the last entries are in memory."""

    @pytest.fixture
    def ledger(self, processed: SqliteStore) -> SqliteLedger:
        return processed.ledger


class TestCache(CacheSuite):
    """The cache."""

    @pytest.fixture
    def cache(self, threaded: SqliteStore) -> LocalCache:
        return threaded.cache


class TestNonces(NoncesSuite):
    """The used nonces."""

    @pytest.fixture
    def nonces(self, threaded: SqliteStore) -> SqliteNonces:
        return threaded.nonces

    async def test_used_nonces_survive_a_restart(self, tmp_path: Path, clock: ManualClock) -> None:
        """A nonce that was used before a restart is refused after it, until after it has expired."""
        now = clock.now()
        for restart in range(4):
            clock.advance(timedelta(seconds=50))
            store = await SqliteStore.open(tmp_path / "kept", collections=COLLECTIONS, settings=Settings(), clock=clock)
            for age in (-200, 0, 3):
                issued = now + timedelta(seconds=age)
                used = await store.nonces.use_once(Nonce("ten_1", b"n", issued, issued + timedelta(seconds=600)))
                assert used == (restart == 0)
            await store.close()

    async def test_expired_nonces_are_deleted(self, tmp_path: Path, clock: ManualClock) -> None:
        """The rows of expired nonces are deleted when new ones are stored."""
        store = await SqliteStore.open(tmp_path / "kept", collections=COLLECTIONS, settings=Settings(), clock=clock)
        for number in range(60):
            now = clock.advance(timedelta(seconds=60))
            assert await store.nonces.use_once(Nonce("ten_1", b"%d" % number, now, now + timedelta(seconds=600)))
            await store.documents.durable()
        rows = store._reader.execute("SELECT count(*) FROM nonces").fetchone()[0]
        await store.close()
        assert 20 < rows < 40
