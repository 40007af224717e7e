"""The ports on the embedded store, with the writer in a thread and in a process."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from shared.adapters.sqlite.documents import SqliteDocuments
from shared.adapters.sqlite.nonces import SqliteNonces
from shared.adapters.sqlite.schema import DATABASE
from shared.adapters.sqlite.store import SqliteStore
from shared.adapters.sqlite.writer import BatchRunner
from shared.core.clock import ManualClock
from shared.core.settings import Settings
from shared.ports.documents import Unavailable
from shared.ports.ledger import Cause, LedgerStore, Leg, Transfer
from shared.ports.nonces import Nonce
from tests.opening import open_adapter
from tests.ports.documents_suite import COLLECTIONS, DocumentsSuite, event
from tests.ports.ledger_suite import LedgerSuite
from tests.ports.nonces_suite import NoncesSuite


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def threaded(tmp_path: Path, clock: ManualClock) -> AsyncIterator[SqliteStore]:
    """A store with the writer in a thread, which caches at most two documents and accounts."""
    settings = Settings(document_cache_entries=2, store_batch_seconds=0.0)
    store = await open_adapter(
        SqliteStore(tmp_path / "data", collections=COLLECTIONS, settings=settings, clock=clock, writer="thread")
    )
    yield store
    await store.aclose()


@pytest.fixture
async def processed(tmp_path: Path, clock: ManualClock) -> AsyncIterator[SqliteStore]:
    """A store with a writer process, as in the platform."""
    store = await open_adapter(
        SqliteStore(tmp_path / "data", collections=COLLECTIONS, settings=Settings(), clock=clock, writer="process")
    )
    yield store
    await store.aclose()


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
    def ledger(self, threaded: SqliteStore) -> LedgerStore:
        return threaded.ledger


class TestLedgerProcess(LedgerSuite):
    """The ledger port, when the last entries are in memory."""

    @pytest.fixture
    def ledger(self, processed: SqliteStore) -> LedgerStore:
        return processed.ledger


@pytest.fixture
async def apart(tmp_path: Path, clock: ManualClock) -> AsyncIterator[SqliteStore]:
    """A store whose documents are in another one."""
    async with SqliteStore(
        tmp_path / "data", collections=(), settings=Settings(), clock=clock, has_inbox=False
    ) as store:
        yield store


class TestLedgerApart(LedgerSuite):
    """The ledger port, when the documents are in another store."""

    @pytest.fixture
    def ledger(self, apart: SqliteStore) -> LedgerStore:
        return apart.ledger

    async def test_what_a_call_returns_is_on_disk(self, apart: SqliteStore, tmp_path: Path) -> None:
        """A transfer and a refusal are in the file when the call returns, because nothing else waits for the disk."""
        cause, when = Cause("payment", "pay_1"), "2026-01-01T00:00:00.000000Z"
        legs = (Leg("a", "debit", 5, "BRL"), Leg("b", "credit", 5, "BRL"))
        with closing(sqlite3.connect(tmp_path / "data" / DATABASE)) as reader:
            for number in range(3):
                await apart.ledger.append(Transfer("ten_1", f"tra_{number}", cause, legs), when)
                await apart.ledger.refuse("ten_1", f"no_{number}", cause, "late", when)
                assert reader.execute("SELECT count(*) FROM transfers").fetchone() == (2 * number + 2,)
                assert reader.execute("SELECT count(*) FROM entries").fetchone() == (2 * number + 2,)

    async def test_a_balance_that_is_not_on_disk_is_not_returned(
        self, apart: SqliteStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A transfer whose batch fails is refused to its caller and to everyone who read it meanwhile."""
        cause, when = Cause("payment", "pay_1"), "2026-01-01T00:00:00.000000Z"
        legs = (Leg("a", "debit", 5, "BRL"), Leg("b", "credit", 5, "BRL"))
        with monkeypatch.context() as failing:
            failing.setattr(BatchRunner, "run", lambda *_: "IntegrityError: made for this test")
            calls = (
                apart.ledger.append(Transfer("ten_1", "tra_1", cause, legs), when),
                apart.ledger.balance("ten_1", "a"),
                apart.ledger.transfer("ten_1", "tra_1"),
            )
            outcomes = await asyncio.gather(*calls, return_exceptions=True)
            assert [type(outcome) for outcome in outcomes] == [Unavailable] * 3
        assert await apart.ledger.balance("ten_1", "a") == 0
        assert await apart.ledger.transfer("ten_1", "tra_1") is None

    async def test_published_events_are_on_disk_in_the_log(self, apart: SqliteStore) -> None:
        """Published events are on disk, and listeners have received them, when the call returns."""
        received: list[str] = []
        apart.subscribe(lambda _, events: received.extend(event.id for event in events))
        assert not apart.bus.reads_the_outbox
        await apart.bus.publish([event("e1"), event("e2")])
        await apart.bus.publish([event("e1")])
        assert apart.durable_sequence == 3
        assert received == ["e1", "e2", "e1"]


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
            store = await open_adapter(
                SqliteStore(tmp_path / "kept", collections=COLLECTIONS, settings=Settings(), clock=clock)
            )
            for age in (-200, 0, 3):
                issued = now + timedelta(seconds=age)
                used = await store.nonces.use_once(Nonce("ten_1", b"n", issued, issued + timedelta(seconds=600)))
                assert used == (restart == 0)
            await store.aclose()

    async def test_expired_nonces_are_deleted(self, tmp_path: Path, clock: ManualClock) -> None:
        """The rows of expired nonces are deleted when new ones are stored."""
        store = await open_adapter(
            SqliteStore(tmp_path / "kept", collections=COLLECTIONS, settings=Settings(), clock=clock)
        )
        for number in range(60):
            now = clock.advance(timedelta(seconds=60))
            assert await store.nonces.use_once(Nonce("ten_1", b"%d" % number, now, now + timedelta(seconds=600)))
            await store.documents.durable()
        rows = store._reader.execute("SELECT count(*) FROM nonces").fetchone()[0]
        await store.aclose()
        assert 20 < rows < 40
