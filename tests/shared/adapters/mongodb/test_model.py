"""The adapter on a model of MongoDB in memory: the suites of the ports, and what happens when a commit's outcome is
unknown."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from shared.adapters.mongodb.documents import MongoDocuments
from shared.adapters.mongodb.nonces import MongoNonces
from shared.adapters.mongodb.schema import definitions
from shared.core.clock import ManualClock
from shared.ports.documents import (
    AlreadyApplied,
    Change,
    Commit,
    CommitOutcomeUnknown,
    Expectation,
    GuardRefused,
    InboxMarker,
    NonceUsed,
    Query,
    Unavailable,
    VersionConflict,
)
from shared.ports.nonces import Nonce
from tests.ports.documents_suite import ACCOUNTS, COLLECTIONS, NOTES, DocumentsSuite, account, event, insert, note
from tests.ports.nonces_suite import NoncesSuite
from tests.shared.adapters.mongodb.model_server import ModelServer
from tests.waiting import rest


@pytest.fixture
def server() -> ModelServer:
    return ModelServer(definitions(COLLECTIONS))


@pytest.fixture
def documents(server: ModelServer) -> MongoDocuments:
    return MongoDocuments(server, COLLECTIONS)  # type: ignore[arg-type]  # it has the same methods


class TestDocuments(DocumentsSuite):
    """The documents port."""

    @pytest.fixture
    def documents(self, server: ModelServer) -> MongoDocuments:
        return MongoDocuments(server, COLLECTIONS)  # type: ignore[arg-type]  # it has the same methods


class TestNonces(NoncesSuite):
    """The nonces port."""

    @pytest.fixture
    def clock(self) -> ManualClock:
        return ManualClock()

    @pytest.fixture
    def nonces(self, server: ModelServer) -> MongoNonces:
        return MongoNonces(server)  # type: ignore[arg-type]  # it has the same methods


def a_commit() -> Commit:
    """Return a commit with a mark, which inserts a note."""
    return Commit("ten_1", inserts=[(NOTES, note("n1"))], inbox=InboxMarker("suite", "/s", "e1"))


async def test_an_unknown_outcome_is_committed_again(server: ModelServer, documents: MongoDocuments) -> None:
    """While the server does not say whether it has committed, the transaction is committed again and not made again."""
    server.unknown.extend([False, False])
    await documents.commit(a_commit())
    assert await documents.get(NOTES, "ten_1", "n1") == note("n1")
    assert [kind for kind, _ in server.calls][:5] == ["write", "write", "commit", "commit", "commit"]


@pytest.mark.parametrize("happened", [True, False])
async def test_a_retry_of_an_unknown_commit_is_final(
    server: ModelServer, documents: MongoDocuments, happened: bool
) -> None:
    """The retry of a commit whose outcome stayed unknown finds its mark, or makes the commit."""
    server.unknown.extend([happened, False, False])
    commit = a_commit()
    with pytest.raises(CommitOutcomeUnknown):
        await documents.commit(commit)
    if happened:
        with pytest.raises(AlreadyApplied):
            await documents.commit(commit)
    else:
        await documents.commit(commit)
    assert await documents.get(NOTES, "ten_1", "n1") == note("n1")
    assert not server.locks


async def test_a_retry_ends_the_attempt_before(server: ModelServer, documents: MongoDocuments) -> None:
    """The retry runs in the session of the earlier attempt, so that the server aborts that one if it is still open."""
    server.unknown.extend([False, False, False])
    commit = a_commit()
    with pytest.raises(CommitOutcomeUnknown):
        await documents.commit(commit)
    assert server.locks, "the server still holds the documents of the first attempt"
    with pytest.raises(VersionConflict):
        await documents.commit(a_commit())
    await documents.commit(commit)
    assert await documents.seen(InboxMarker("suite", "/s", "e1"))


async def test_a_cancelled_caller_does_not_break_a_transaction_off(
    server: ModelServer, documents: MongoDocuments
) -> None:
    """The transaction of a caller that is cancelled comes to its end."""
    caller = asyncio.create_task(documents.commit(a_commit()))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    await documents.settled(60)
    assert await documents.get(NOTES, "ten_1", "n1") == note("n1")
    assert not server.locks


async def test_the_refusal_of_a_cancelled_caller_s_commit_is_no_forgotten_error(
    server: ModelServer, documents: MongoDocuments, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit that is refused after its caller was cancelled leaves no task whose exception was never retrieved."""
    await documents.commit(a_commit())
    begin, opened = server.transaction, asyncio.Event()

    async def begin_later() -> Any:
        await opened.wait()
        return await begin()

    monkeypatch.setattr(server, "transaction", begin_later)
    caller = asyncio.create_task(documents.commit(a_commit()))
    await rest()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    opened.set()
    await documents.settled(60)
    del caller
    gc.collect()
    await asyncio.sleep(0)
    assert "never retrieved" not in caplog.text


async def test_a_nonce_is_committed_once(documents: MongoDocuments, server: ModelServer) -> None:
    """A second commit with the nonce of an earlier one is refused, whether or not the nonce was used before."""
    nonces, now = MongoNonces(server), ManualClock().now()  # type: ignore[arg-type]  # it has the same methods
    for value in (b"used", b"elsewhere"):
        nonce = Nonce("ten_1", value, now, now)
        if value == b"used":
            assert await nonces.use_once(nonce)
        await documents.commit(Commit("ten_1", events=[event("e1")], nonce=nonce))
        with pytest.raises(NonceUsed):
            await documents.commit(Commit("ten_1", events=[event("e2")], nonce=nonce))
        assert not await nonces.use_once(nonce)
    assert [each.id for each in await documents.unsent("2027", 10)] == ["e1"]


async def test_unsent_events_are_returned_until_they_are_marked(documents: MongoDocuments) -> None:
    """`unsent` returns the events that are older than a time and not marked as sent, oldest first, with their topic."""
    events = [event("e2", "2026-01-02", history="h/1"), event("e1", "2026-01-01"), event("e3", "2026-01-03")]
    await documents.commit(Commit("ten_1", events=events))
    found = await documents.unsent("2026-01-03", 10)
    assert [(each.id, each.history, each.topic) for each in found] == [
        ("e1", None, events[1].topic),
        ("e2", "h/1", events[0].topic),
    ]
    assert [each.id for each in await documents.unsent("2026-01-03", 1)] == ["e1"]
    await documents.mark_sent(events[:2])
    assert [each.id for each in await documents.unsent("2026-01-09", 10)] == ["e3"]
    assert [each.id for each in await documents.history("ten_1", "h", None, 10)] == ["e2"]


async def test_marks_of_concurrent_commits_are_written_together(documents: MongoDocuments, server: ModelServer) -> None:
    """Marks of commits at the same time are one write; while it is in progress, further ones wait and are the next."""
    events = [event(f"e{number}", history="h/1" if number % 2 else None) for number in range(12)]
    await documents.commit(Commit("ten_1", events=events))
    server.calls.clear()
    first = asyncio.gather(*(documents.mark_sent([each]) for each in events[:6]))
    while not server.calls:  # noqa: ASYNC110 - the model has no event for it
        await asyncio.sleep(0)
    await asyncio.gather(first, *(documents.mark_sent([each]) for each in events[6:]))
    assert server.calls == [("write", "outbox")] * 2
    assert not await documents.unsent("9", 100)


async def test_an_error_of_a_mark_reaches_each_caller(
    documents: MongoDocuments, server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When marks cannot be written, every caller that waits for them raises that, and later marks are written."""
    events = [event(f"e{number}") for number in range(4)]
    await documents.commit(Commit("ten_1", events=events))
    with monkeypatch.context() as patch:

        async def fail(*_: Any, **named: Any) -> Any:
            await asyncio.sleep(0)
            raise Unavailable("no primary")

        patch.setattr(server, "write", fail)
        found = await asyncio.gather(*(documents.mark_sent([each]) for each in events), return_exceptions=True)
    assert {type(each) for each in found} == {Unavailable}
    await documents.mark_sent(events)
    assert not await documents.unsent("9", 100)


async def test_one_document_of_a_commit_is_written_once(documents: MongoDocuments, server: ModelServer) -> None:
    """What a commit does to one document is one write of it: a replacement, changes and an expectation together."""
    await insert(documents, ACCOUNTS, account("a1", posted=10, status="active"), account("a2"))
    server.calls.clear()
    commit = Commit("ten_1", replaces=[(ACCOUNTS, account("a1", posted=9, status="active"))])
    commit.changes.append(Change(ACCOUNTS, "a1", {"held": 4}, {"posted": 9}))
    commit.changes.append(Change(ACCOUNTS, "a1", {"held": 5}, {"held": 4}))
    commit.expects += [Expectation(ACCOUNTS, "ten_1", "a1", 1), Expectation(ACCOUNTS, "ten_1", "a2", 1)]
    await documents.commit(commit)
    assert server.calls == [("write", "suite_accounts"), ("commit", "")]
    assert await documents.get(ACCOUNTS, "ten_1", "a1") == {
        **account("a1", posted=9, held=9, status="active"),
        "version": 4,
    }


async def test_documents_that_others_write_are_written_last(documents: MongoDocuments, server: ModelServer) -> None:
    """The mark is written first. An existing document is written after the new ones and the events, right before the
    commit, to shorten the time in which other transactions conflict with this one."""
    await insert(documents, ACCOUNTS, account("a1", posted=10))
    server.calls.clear()
    commit = Commit("ten_1", inserts=[(NOTES, note("n1"))], events=[event("e1")])
    commit.inbox = InboxMarker("suite", "/s", "e0")
    commit.changes.append(Change(ACCOUNTS, "a1", {"held": 4}))
    await documents.commit(commit)
    written = [collection for _, collection in server.calls]
    assert written == ["inbox", "suite_notes", "outbox", "suite_accounts", ""]


async def test_changes_of_one_document_see_each_other(documents: MongoDocuments) -> None:
    """A change's condition is about the document after the changes before it in the commit."""
    await insert(documents, ACCOUNTS, account("a1", posted=10, status="active"))
    changes = [
        Change(ACCOUNTS, "a1", {"posted": 5}, {"status": "active", "posted": 10}, {"status": "blocked"}),
        Change(ACCOUNTS, "a1", {"posted": 1}, {"status": "blocked", "posted": 15}),
        Change(ACCOUNTS, "a1", {"held": 2}, {}, {"held": 3}),
    ]
    await documents.commit(Commit("ten_1", changes=list(changes)))
    expected = {**account("a1", posted=16, held=5, status="blocked"), "version": 4}
    assert await documents.get(ACCOUNTS, "ten_1", "a1") == expected
    with pytest.raises(GuardRefused):
        await documents.commit(Commit("ten_1", changes=[changes[1], changes[1]]))
    with pytest.raises(GuardRefused):
        await documents.commit(Commit("ten_1", changes=[changes[1]._replace(where={}, assign={"held": 99})]))


async def test_a_deletion_does_not_stand_for_another_write(documents: MongoDocuments) -> None:
    """A commit that deletes a document and expects an absent one is refused: a deletion does not count for the expected
    document."""
    await insert(documents, NOTES, note("n1"))
    with pytest.raises(VersionConflict):
        await documents.commit(Commit("ten_1", deletes=[(NOTES, "n1")], expects=[Expectation(NOTES, "ten_1", "n2", 1)]))
    assert await documents.get(NOTES, "ten_1", "n1") == note("n1")


async def test_a_released_value_can_be_taken_in_the_same_commit(documents: MongoDocuments) -> None:
    """A new document may take the unique value of one that the same commit deletes or changes."""
    await insert(documents, ACCOUNTS, account("a2", iban="BR1"), account("a3", iban="BR2"))
    commit = Commit("ten_1", inserts=[(ACCOUNTS, account("a0", iban="BR1")), (ACCOUNTS, account("a1", iban="BR2"))])
    commit.deletes.append((ACCOUNTS, "a2"))
    commit.replaces.append((ACCOUNTS, account("a3", iban=None)))
    await documents.commit(commit)
    found = await documents.find(ACCOUNTS, "ten_1", Query())
    assert [(each["id"], each["iban"]) for each in found] == [("a0", "BR1"), ("a1", "BR2"), ("a3", None)]


async def test_deleting_goes_with_other_writes(documents: MongoDocuments) -> None:
    """A commit may insert, replace or change a document and delete it: the conditions hold, and it is gone."""
    await insert(documents, NOTES, note("n1"), note("n2"))
    gone: list[Any] = [(NOTES, "n1"), (NOTES, "n2"), (NOTES, "n3")]
    commit = Commit("ten_1", replaces=[(NOTES, note("n1"))], inserts=[(NOTES, note("n3"))], deletes=gone)
    await documents.commit(commit)
    for id in ("n1", "n2", "n3"):
        assert await documents.get(NOTES, "ten_1", id) is None
    with pytest.raises(VersionConflict):
        await documents.commit(Commit("ten_1", replaces=[(NOTES, note("n1"))], deletes=[(NOTES, "n1")]))
