"""The ports on hostile stores: for a caller that retries as Lastro's commit loop does, all suites pass."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from copy import copy
from typing import TypeVar

import pytest

from shared.core.envelope import Envelope
from shared.ports.documents import (
    AlreadyApplied,
    Collection,
    Commit,
    CommitOutcomeUnknown,
    CommitRefused,
    D,
    InboxMarker,
    Query,
    ReadToken,
    Unavailable,
    VersionConflict,
)
from shared.ports.ledger import AccountTurnover, Cause, Entry, RecordedTransfer, Refusal, Transfer
from tests.hostile import Fault, HostileDocuments, HostileLedger, SeededDie, Servers
from tests.ports.documents_suite import COLLECTIONS, NOTES, DocumentsSuite, insert, note
from tests.ports.ledger_suite import LedgerSuite

T = TypeVar("T")
_ATTEMPTS = 30
_CONFLICTS = 6
"""The number of conflicts in a row after which a conflict counts as real."""


class PersistentDocuments:
    """The documents port for a caller that repeats a commit while its outcome is unknown."""

    def __init__(self, servers: Servers) -> None:
        self._hostile = HostileDocuments(servers)
        self._made = 0
        self.read_token: ReadToken | None = None
        self.answers_at_once = False
        self.get = self._hostile.get
        self.seen = self._hostile.seen

    async def find(self, collection: Collection[D, ...], tenant_id: str | None, query: Query) -> Sequence[D]:
        # A query across tenants may return stale documents; the suite expects the present ones.
        self._hostile._servers.die.calm = tenant_id is None  # type: ignore[attr-defined]  # a seeded die
        try:
            return await self._hostile.find(collection, tenant_id, query)
        finally:
            self._hostile._servers.die.calm = False  # type: ignore[attr-defined]  # as above

    async def commit(self, commit: Commit) -> None:
        marker = commit.inbox
        if marker is None:
            self._made += 1
            marker = InboxMarker("suite", "/persistent", f"commit-{self._made}")
            commit = copy(commit)
            commit.inbox = marker
        elif await self._hostile.seen(marker):
            raise AlreadyApplied(str(marker))
        await self._persist(commit, marker)

    async def _persist(self, commit: Commit, marker: InboxMarker) -> None:
        doubtful, conflicts = False, 0
        for _ in range(_ATTEMPTS):
            try:
                await self._hostile.commit(commit)
            except CommitOutcomeUnknown:
                doubtful = True
            except CommitRefused as refusal:
                if doubtful and (isinstance(refusal, AlreadyApplied) or await self._hostile.seen(marker)):
                    return
                conflicts += 1
                if not isinstance(refusal, VersionConflict) or conflicts == _CONFLICTS:
                    raise
            except Unavailable:
                continue
            else:
                return
        raise AssertionError("the store never takes the commit")

    async def durable(self, read_token: ReadToken | None = None) -> None:
        await self._hostile.durable(read_token)

    async def history(self, tenant_id: str, name: str, after: str | None, limit: int) -> Sequence[Envelope]:
        return await self._hostile.history(tenant_id, name, after, limit)

    async def unsent(self, older_than: str, limit: int) -> Sequence[Envelope]:
        return await self._hostile.unsent(older_than, limit)

    async def mark_sent(self, events: Sequence[Envelope]) -> None:
        await persistently(lambda: self._hostile.mark_sent(events))


class PersistentLedger:
    """The ledger port for a caller that repeats a call while it gets no answer."""

    def __init__(self, servers: Servers) -> None:
        self._hostile = HostileLedger(servers)

    async def append(self, transfer: Transfer, recorded_at: str) -> RecordedTransfer | Refusal:
        return await persistently(lambda: self._hostile.append(transfer, recorded_at))

    async def refuse(
        self, tenant_id: str, transfer_id: str, cause: Cause, reason: str, recorded_at: str
    ) -> RecordedTransfer | Refusal:
        return await persistently(lambda: self._hostile.refuse(tenant_id, transfer_id, cause, reason, recorded_at))

    async def transfer(self, tenant_id: str, transfer_id: str) -> RecordedTransfer | None:
        return await self._hostile.transfer(tenant_id, transfer_id)

    async def entries(self, tenant_id: str, account_id: str, after_sequence: int, limit: int) -> Sequence[Entry]:
        return await self._hostile.entries(tenant_id, account_id, after_sequence, limit)

    async def balance(self, tenant_id: str, account_id: str) -> int:
        return await self._hostile.balance(tenant_id, account_id)

    async def turnover(self, tenant_id: str) -> Sequence[AccountTurnover]:
        return await self._hostile.turnover(tenant_id)


async def persistently(call: Callable[[], Awaitable[T]]) -> T:
    """Repeat a call until it is answered, and return its result. An adapter also waits for a busy server."""
    for _ in range(_ATTEMPTS):
        try:
            return await call()
        except Unavailable:
            continue
    raise AssertionError("the store never answers")


@pytest.fixture(params=range(3))
def servers(request: pytest.FixtureRequest) -> Servers:
    """Stores that fail in a third of the calls, by a seed."""
    return Servers(SeededDie(request.param, share=0.3), COLLECTIONS)


class TestDocuments(DocumentsSuite):
    """The documents port."""

    @pytest.fixture
    def documents(self, servers: Servers) -> PersistentDocuments:
        return PersistentDocuments(servers)

    async def test_everything_goes_wrong(self, servers: Servers) -> None:
        """In a hundred commits every kind of fault happens, and each commit is made once."""
        documents = PersistentDocuments(servers)
        for number in range(100):
            await insert(documents, NOTES, note(f"n{number:03}"))
        await servers.arrived()
        assert set(servers.happened) == set(Fault)
        assert len(await documents.find(NOTES, "ten_1", Query(limit=200))) == 100


class TestLedger(LedgerSuite):
    """The ledger port."""

    @pytest.fixture
    def ledger(self, servers: Servers) -> PersistentLedger:
        return PersistentLedger(servers)
