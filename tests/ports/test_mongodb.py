"""The ports on a server with MongoDB's wire protocol."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any

import pytest

from shared.adapters.mongodb.documents import MongoDocuments
from shared.adapters.mongodb.driver import Server
from shared.adapters.mongodb.migration import check_schema, check_server, migrate
from shared.adapters.mongodb.nonces import MongoNonces
from shared.adapters.mongodb.schema import definitions
from shared.adapters.mongodb.statements import Insert
from shared.core.clock import ManualClock
from shared.ports.documents import (
    AlreadyApplied,
    Change,
    Commit,
    Expectation,
    GuardRefused,
    InboxMarker,
    InvalidWrite,
    NonceUsed,
    Query,
    VersionConflict,
)
from shared.ports.nonces import Nonce
from tests.ports.documents_suite import (
    ACCOUNTS,
    COLLECTIONS,
    NOTES,
    DocumentsSuite,
    account,
    change,
    event,
    insert,
    note,
)
from tests.ports.mongodb_databases import Recorder, dropped, emptied, migrated, new_database
from tests.ports.nonces_suite import NoncesSuite


@pytest.fixture(scope="module")
def database(mongodb_url: str) -> Iterator[str]:
    """The URL of a database with the collections of the suite."""
    url = new_database(mongodb_url)
    migrated(url, COLLECTIONS)
    yield url
    dropped(url)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
async def server(database: str, recorder: Recorder) -> AsyncIterator[Server]:
    """The database, empty."""
    server = await emptied(database, COLLECTIONS, recorder)
    yield server
    await server.aclose()


@pytest.fixture
def documents(server: Server) -> MongoDocuments:
    return MongoDocuments(server, COLLECTIONS)


class TestDocuments(DocumentsSuite):
    """The documents port."""

    @pytest.fixture
    def documents(self, server: Server) -> MongoDocuments:
        return MongoDocuments(server, COLLECTIONS)


class TestNonces(NoncesSuite):
    """The nonces port."""

    @pytest.fixture
    def clock(self) -> ManualClock:
        return ManualClock()

    @pytest.fixture
    def nonces(self, server: Server) -> MongoNonces:
        return MongoNonces(server)


async def test_a_commit_is_one_command_for_each_collection_and_one_more(
    documents: MongoDocuments, recorder: Recorder
) -> None:
    """A commit sends one command for each collection and kind of write, and one to commit; a read sends one."""
    await insert(documents, ACCOUNTS, account("a1", posted=100), account("a2"), account("a3"))
    recorder.drain()
    now = ManualClock().now()
    commit = Commit("ten_1", inserts=[(NOTES, note(f"n{number}")) for number in range(5)])
    commit.inbox = InboxMarker("suite", "/s", "e1")
    commit.nonce = Nonce("ten_1", b"n", now, now + timedelta(seconds=300))
    commit.changes += [Change(ACCOUNTS, "a1", {"held": 1}), Change(ACCOUNTS, "a1", {"held": 2})]
    commit.replaces.append((ACCOUNTS, account("a2", posted=1)))
    commit.expects.append(Expectation(ACCOUNTS, "ten_1", "a3", 1))
    commit.events += [event("e1"), event("e2", history="h/1")]
    await documents.commit(commit)
    inbox, notes, nonce, events, accounts = "insert", "insert", "update", "update", "update"
    assert recorder.drain() == [inbox, notes, nonce, events, accounts, "commitTransaction"]
    await documents.mark_sent(commit.events)
    assert recorder.drain() == ["delete", "update"]
    assert await documents.get(ACCOUNTS, "ten_1", "a1") is not None
    assert len(await documents.find(NOTES, "ten_1", Query(limit=100))) == 5
    assert recorder.drain() == ["find", "find"]


async def test_a_refused_commit_leaves_nothing(documents: MongoDocuments, server: Server) -> None:
    """When the last statement of a commit is refused, nothing of it is there, and its session is given back."""
    await insert(documents, ACCOUNTS, account("a1", posted=5))
    now = ManualClock().now()
    nonce = Nonce("ten_1", b"n", now, now)
    await documents.commit(Commit("ten_1", inserts=[(NOTES, note("n1"))], nonce=nonce))
    refused = Commit("ten_1", inserts=[(NOTES, note("n2"))], events=[event("e1")], nonce=nonce)
    refused.changes.append(Change(ACCOUNTS, "a1", {"held": 5}))
    for _ in range(2):
        with pytest.raises(NonceUsed):
            await documents.commit(refused)
    assert await documents.get(NOTES, "ten_1", "n2") is None
    assert await documents.get(ACCOUNTS, "ten_1", "a1") == account("a1", posted=5)
    assert not await documents.unsent("2027", 10)


async def test_a_nonce_is_committed_once(documents: MongoDocuments, server: Server) -> None:
    """A nonce that was used in advance, or not, is committed once and is used from then on."""
    nonces, now = MongoNonces(server), ManualClock().now()
    for value in (b"used", b"elsewhere"):
        nonce = Nonce("ten_1", value, now, now)
        if value == b"used":
            assert await nonces.use_once(nonce)
        await documents.commit(Commit("ten_1", events=[event("e1")], nonce=nonce))
        with pytest.raises(NonceUsed):
            await documents.commit(Commit("ten_1", events=[event("e2")], nonce=nonce))
        assert not await nonces.use_once(nonce)


async def test_a_nonce_is_used_once_by_many_at_once(server: Server) -> None:
    """Of ten concurrent uses of a nonce, one is the first."""
    nonces, now = MongoNonces(server), ManualClock().now()
    uses = await asyncio.gather(*(nonces.use_once(Nonce("ten_1", b"n", now, now)) for _ in range(10)))
    assert sum(uses) == 1


async def test_the_outbox_is_read_in_order(documents: MongoDocuments) -> None:
    """Unsent events come oldest first, with their topics; sent ones are gone, except from their history."""
    events = [event("e2", "2026-01-02", history="h/1"), event("e1", "2026-01-01"), event("e3", "2026-01-03")]
    await documents.commit(Commit("ten_1", events=events))
    await documents.commit(Commit("ten_1", events=[events[1]]))
    found = await documents.unsent("2026-01-03", 10)
    assert [each.id for each in found] == ["e1", "e2"]
    assert [each.attributes() for each in found] == [events[1].attributes(), events[0].attributes()]
    assert [each.id for each in await documents.unsent("2026-01-03", 1)] == ["e1"]
    await documents.mark_sent(found)
    assert [each.id for each in await documents.unsent("2026-01-09", 10)] == ["e3"]
    assert [each.id for each in await documents.history("ten_1", "h", None, 10)] == ["e2"]


async def test_a_floor_holds_against_commits_at_once(documents: MongoDocuments) -> None:
    """Twenty concurrent holds on an account with money for seven: seven are made, whatever the conflicts."""
    await insert(documents, ACCOUNTS, account("a1", posted=70, status="active"))

    async def hold() -> bool:
        while True:
            try:
                await change(documents, "a1", {"held": 10}, {"status": "active"})
            except VersionConflict:
                await asyncio.sleep(0)
            except GuardRefused:
                return False
            else:
                return True

    held = await asyncio.gather(*(hold() for _ in range(20)))
    assert sum(held) == 7
    found = await documents.get(ACCOUNTS, "ten_1", "a1")
    assert found is not None
    assert (found["held"], found["version"]) == (70, 8)


async def test_one_marker_is_committed_once_by_many_at_once(documents: MongoDocuments) -> None:
    """Of ten concurrent commits with one marker, one is made; the others are refused as applied, or conflict."""

    async def apply(number: int) -> object:
        marker = InboxMarker("suite", "/s", "e1")
        try:
            await documents.commit(Commit("ten_1", inserts=[(NOTES, note(f"n{number}"))], inbox=marker))
        except (AlreadyApplied, VersionConflict) as refused:
            return refused
        return None

    outcomes = await asyncio.gather(*(apply(number) for number in range(10)))
    assert outcomes.count(None) == 1
    assert len(await documents.find(NOTES, "ten_1", Query())) == 1


async def test_a_document_without_a_tenant_is_refused_by_the_server(server: Server) -> None:
    """The server itself refuses a document without its tenant, or with a value of another type."""
    new: dict[str, Any] = {"_id": "ten_1/x", "tenantId": "ten_1", "id": "x", "version": 1, "posted": 1}
    for wrong in ({"tenantId": ...}, {"posted": "1"}, {"held": 0.5}, {"version": ...}):
        document = {name: value for name, value in {**new, **wrong}.items() if value is not ...}
        with pytest.raises(InvalidWrite):
            await server.write("suite_accounts", [Insert(document)])
    await server.write("suite_accounts", [Insert(new)])


async def test_a_second_migration_finds_nothing(server: Server) -> None:
    """After a migration the server has what was asked for: a second one has nothing to do, and a start is allowed."""
    steps: list[str] = []
    await migrate(server, COLLECTIONS, steps.append, dry_run=True)
    assert steps == []
    await check_server(server)
    await check_schema(server)
    names = {each["name"] for each in await server.listed({"listCollections": 1})}
    assert {each.name for each in definitions(COLLECTIONS)} <= names


async def test_values_survive_the_server(documents: MongoDocuments) -> None:
    """The greatest integers, text of every kind, and field names with special characters are read back unchanged."""
    values = {
        "min": -(2**63),
        "max": 2**63 - 1,
        "a.b": 1,
        "$set": {"%": "\x00"},
        "": [],
        "ação": "💸",
        "f": 0.1,
        "n": None,
    }
    await insert(documents, NOTES, note("n1", c=values))
    found = await documents.get(NOTES, "ten_1", "n1")
    assert found == note("n1", c=values)
