"""Commits on MongoDB's wire protocol when connections break and commands fail: one effect, or none and an error."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest

from shared.adapters.mongodb.combining import ATTEMPTS
from shared.adapters.mongodb.documents import MongoDocuments
from shared.adapters.mongodb.driver import Server
from shared.ports.documents import (
    AlreadyApplied,
    Change,
    Commit,
    CommitOutcomeUnknown,
    InboxMarker,
    Unavailable,
    VersionConflict,
)
from tests.ports.documents_suite import ACCOUNTS, COLLECTIONS, account, event, insert
from tests.ports.mongodb_databases import dropped, emptied, migrated, new_database

COMMANDS = ("insert", "update", "commitTransaction")
FailureOf = Callable[..., Awaitable[None]]


@pytest.fixture(scope="module")
def database(mongodb_url: str) -> Iterator[str]:
    """The URL of a database with the collections of the suite."""
    url = new_database(mongodb_url)
    migrated(url, COLLECTIONS)
    yield url
    dropped(url)


@pytest.fixture
async def server(database: str) -> AsyncIterator[Server]:
    """The database, empty, for a client with a name of its own, by which fail points know it."""
    server = await emptied(f"{database}&appname=tests-{uuid4()}", COLLECTIONS)
    yield server
    await server.aclose()


@pytest.fixture
async def documents(server: Server) -> MongoDocuments:
    """The port, with an account of 100."""
    documents = MongoDocuments(server, COLLECTIONS)
    await insert(documents, ACCOUNTS, account("a1", posted=100))
    return documents


@pytest.fixture
def fail(server: Server) -> FailureOf:
    """Makes the next commands of a name fail."""

    async def fail(command: str, times: int, **what: Any) -> None:
        name = server._client.options.pool_options.appname
        data = {"failCommands": [command], "appName": name, **what}
        point = {"configureFailPoint": "failCommand", "mode": {"times": times}, "data": data}
        await server._client.admin.command(point)

    return fail


def a_hold() -> Commit:
    """Return the commit of an event that holds 10 and publishes a fact."""
    commit = Commit("ten_1", changes=[Change(ACCOUNTS, "a1", {"held": 10})], events=[event("fact")])
    commit.inbox = InboxMarker("suite", "/s", "e1")
    return commit


async def applied(documents: MongoDocuments, commit: Commit) -> None:
    """Commit as the commit loop does: again after a conflict, and the same again while the outcome is unknown."""
    for _ in range(20):
        try:
            await documents.commit(commit)
        except AlreadyApplied:
            return
        except (VersionConflict, CommitOutcomeUnknown):
            continue
        else:
            return
    raise AssertionError("the commit never succeeds")


async def assert_held_once(documents: MongoDocuments) -> None:
    """Check that the commit has had its one effect."""
    found = await documents.get(ACCOUNTS, "ten_1", "a1")
    assert found is not None
    assert (found["held"], found["version"]) == (10, 2)
    assert await documents.seen(InboxMarker("suite", "/s", "e1"))
    assert [each.id for each in await documents.unsent("9", 10)] == ["fact"]


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("afterwards", [False, True], ids=["not done", "done"])
@pytest.mark.parametrize("command", COMMANDS)
async def test_a_connection_that_breaks_costs_no_effect(
    documents: MongoDocuments, fail: FailureOf, command: str, afterwards: bool, times: int
) -> None:
    """When the connection breaks at a command of the commit, before or after the server has carried it out, the commit
    has one effect in the end."""
    await fail(command, times, closeConnection=True, afterwards=afterwards)
    await applied(documents, a_hold())
    await assert_held_once(documents)


@pytest.mark.parametrize("afterwards", [False, True], ids=["not done", "done"])
async def test_an_outcome_that_stays_unknown_is_found_out(
    documents: MongoDocuments, fail: FailureOf, afterwards: bool
) -> None:
    """When no attempt to commit is answered, the outcome is unknown. The retry finds the mark, or makes the commit at
    once, although the first transaction was still open on the server."""
    await fail("commitTransaction", 6, closeConnection=True, afterwards=afterwards)
    commit = a_hold()
    with pytest.raises(CommitOutcomeUnknown):
        await documents.commit(commit)
    if afterwards:
        with pytest.raises(AlreadyApplied):
            await documents.commit(commit)
    else:
        await documents.commit(commit)
    await assert_held_once(documents)


async def test_an_abandoned_attempt_cannot_arrive_late(
    documents: MongoDocuments, server: Server, fail: FailureOf
) -> None:
    """After the retry, the server refuses to commit the transaction of the first attempt."""
    await fail("commitTransaction", 6, closeConnection=True)
    commit = a_hold()
    with pytest.raises(CommitOutcomeUnknown):
        await documents.commit(commit)
    attempt: Any = commit.attempt
    session = attempt.transaction._session.delegate
    lsid, number = session.session_id, session._server_session.transaction_id
    await documents.commit(commit)
    late = {"commitTransaction": 1, "lsid": lsid, "txnNumber": number, "autocommit": False}
    with pytest.raises((Unavailable, VersionConflict)):
        await server.command(late)
    await assert_held_once(documents)


@pytest.mark.parametrize(
    ("code", "labels", "raised"),
    [
        (112, ["TransientTransactionError"], VersionConflict),
        (251, ["TransientTransactionError"], VersionConflict),
        (24, ["TransientTransactionError"], VersionConflict),
        (13, [], Unavailable),
        (96, [], Unavailable),
    ],
)
@pytest.mark.parametrize("command", COMMANDS)
async def test_a_command_that_is_refused_has_no_effect(
    documents: MongoDocuments, fail: FailureOf, command: str, code: int, labels: list[str], raised: type[Exception]
) -> None:
    """When the server refuses a command of the commit, nothing of it is there, the error says whether to decide again,
    and the same commit can then be made. A conflict is raised after several attempts at the same transaction."""
    await fail(command, ATTEMPTS if raised is VersionConflict else 1, errorCode=code, errorLabels=labels)
    with pytest.raises(raised):
        await documents.commit(a_hold())
    found = await documents.get(ACCOUNTS, "ten_1", "a1")
    assert found == account("a1", posted=100)
    assert not await documents.seen(InboxMarker("suite", "/s", "e1"))
    await documents.commit(a_hold())
    await assert_held_once(documents)


async def test_a_read_is_tried_again_and_then_unavailable(documents: MongoDocuments, fail: FailureOf) -> None:
    """A read whose connection breaks once is answered; one whose connection breaks again is Unavailable."""
    await fail("find", 1, closeConnection=True)
    assert await documents.get(ACCOUNTS, "ten_1", "a1") is not None
    await fail("find", 2, closeConnection=True)
    with pytest.raises(Unavailable):
        await documents.get(ACCOUNTS, "ten_1", "a1")
