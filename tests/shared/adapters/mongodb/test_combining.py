"""Commits of one process that increment the same documents share a transaction, each with its own outcome."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.adapters.mongodb import combining
from shared.adapters.mongodb.combining import ATTEMPTS, BATCH_COMMITS
from shared.adapters.mongodb.documents import MongoDocuments
from shared.adapters.mongodb.schema import definitions
from shared.ports.documents import (
    AlreadyApplied,
    Change,
    Commit,
    CommitOutcomeUnknown,
    CommitRefused,
    Expectation,
    GuardRefused,
    InboxMarker,
    Unavailable,
    VersionConflict,
)
from tests.ports.documents_suite import ACCOUNTS, COLLECTIONS, NOTES, account, event, insert, note
from tests.shared.adapters.mongodb.model_server import ModelServer
from tests.waiting import rest


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(combining, "_PAUSE_SECONDS", 0.0)


@pytest.fixture
def server() -> ModelServer:
    return ModelServer(definitions(COLLECTIONS))


@pytest.fixture
async def documents(server: ModelServer) -> MongoDocuments:
    """The port, with a merchant without money and two payers with 100 each."""
    documents = documents_on(server)
    await insert(
        documents,
        ACCOUNTS,
        account("merchant", status="active"),
        account("payer", posted=100, status="active"),
        account("other", posted=100, status="active"),
    )
    server.calls.clear()
    return documents


def documents_on(server: ModelServer) -> MongoDocuments:
    return MongoDocuments(server, COLLECTIONS)  # type: ignore[arg-type]  # it has the same methods


def credit(number: int, to: str = "merchant", **fields: int) -> Commit:
    """Return the commit of an event that credits 5, or changes these fields."""
    commit = Commit("ten_1", changes=[Change(ACCOUNTS, to, fields or {"posted": 5})], events=[event(f"f{number}")])
    commit.inbox = InboxMarker("suite", "/s", f"e{number}")
    return commit


async def outcomes(works: Iterable[Awaitable[None]]) -> list[Any]:
    """Run concurrently; return the error of each, or None."""
    return await asyncio.gather(*works, return_exceptions=True)


def commits(server: ModelServer) -> int:
    """Return the number of transactions that were committed."""
    return [kind for kind, _ in server.calls].count("commit")


async def test_a_lone_commit_is_written_as_before(server: ModelServer, documents: MongoDocuments) -> None:
    """A commit that no other is in progress with has a transaction of its own, with one call for each collection."""
    await documents.commit(credit(1))
    assert server.calls == [("write", "inbox"), ("write", "outbox"), ("write", "suite_accounts"), ("commit", "")]


async def test_concurrent_credits_are_two_transactions(server: ModelServer, documents: MongoDocuments) -> None:
    """Of forty concurrent credits, the first is committed alone, and all that wait for it in one transaction."""
    assert set(await outcomes(documents.commit(credit(number)) for number in range(40))) == {None}
    assert commits(server) == 2
    assert len(server.calls) == 8
    found = await documents.get(ACCOUNTS, "ten_1", "merchant")
    assert found is not None
    assert (found["posted"], found["version"]) == (200, 41)
    assert len(await documents.unsent("9", 100)) == 40


async def test_a_transaction_is_bounded(server: ModelServer, documents: MongoDocuments) -> None:
    """A transaction has at most BATCH_COMMITS commits."""
    await outcomes(documents.commit(credit(number)) for number in range(1 + 2 * BATCH_COMMITS))
    assert commits(server) == 3


async def test_commits_to_different_documents_do_not_wait(server: ModelServer, documents: MongoDocuments) -> None:
    """Commits that share no document have transactions of their own, at the same time."""
    both = outcomes(documents.commit(credit(number, to)) for number, to in enumerate(("payer", "other")))
    assert await both == [None, None]
    assert [collection for _, collection in server.calls][:2] == ["inbox", "inbox"]
    assert commits(server) == 2


async def test_a_refused_commit_does_not_refuse_others(documents: MongoDocuments) -> None:
    """When a floor refuses one of many commits in a transaction, that one is refused and all others are made."""
    works = [documents.commit(credit(number, "payer")) for number in range(9)]
    works.insert(4, documents.commit(credit(99, "payer", held=1_000)))
    found = await outcomes(works)
    assert [type(each) for each in found] == [*[type(None)] * 4, GuardRefused, *[type(None)] * 5]
    payer = await documents.get(ACCOUNTS, "ten_1", "payer")
    assert payer is not None
    assert (payer["posted"], payer["held"], payer["version"]) == (145, 0, 10)


async def test_a_repeated_commit_is_applied_once(documents: MongoDocuments) -> None:
    """When an event that was applied before is among many, only its commit is refused; of two deliveries at the same
    time one is made."""
    await documents.commit(credit(3))
    found = await outcomes(documents.commit(credit(number)) for number in (*range(8), 5))
    assert [type(each) for each in found].count(AlreadyApplied) == 2
    assert isinstance(found[3], AlreadyApplied)
    merchant = await documents.get(ACCOUNTS, "ten_1", "merchant")
    assert merchant is not None
    assert (merchant["posted"], merchant["version"]) == (40, 9)


async def test_a_commit_that_read_an_old_version_is_refused_alone(documents: MongoDocuments) -> None:
    """A commit whose own document has changed since it was read is refused, and the others with it are made."""
    await insert(documents, NOTES, *(note(f"n{number}") for number in range(6)))
    works = []
    for number in range(6):
        commit = credit(number)
        commit.replaces.append((NOTES, {**note(f"n{number}"), "version": 7 if number == 3 else 1}))
        works.append(documents.commit(commit))
    found = await outcomes(works)
    assert [type(each) for each in found] == [*[type(None)] * 3, VersionConflict, *[type(None)] * 2]


async def test_holds_of_one_payer_are_one_transaction(server: ModelServer, documents: MongoDocuments) -> None:
    """Concurrent holds on one account that has the money for all of them are made in two transactions, with their
    conditions and floors."""

    def hold(number: int) -> Commit:
        commit = Commit("ten_1", changes=[Change(ACCOUNTS, "payer", {"held": 5}, {"status": "active"})])
        commit.inbox = InboxMarker("suite", "/s", f"h{number}")
        return commit

    assert set(await outcomes(documents.commit(hold(number)) for number in range(20))) == {None}
    assert commits(server) == 2
    found = await outcomes([documents.commit(hold(20)), documents.commit(hold(21))])
    assert {type(each) for each in found} == {GuardRefused}


async def test_commits_that_expect_one_document_are_two_transactions(
    server: ModelServer, documents: MongoDocuments
) -> None:
    """Concurrent commits that expect the same version of a document are made in two transactions, and one that expects
    an older version is refused."""

    def opening(number: int, version: int = 1) -> Commit:
        expects = [Expectation(ACCOUNTS, "ten_1", "payer", version)]
        return Commit("ten_1", inserts=[(NOTES, note(f"n{number}"))], expects=expects)

    assert set(await outcomes(documents.commit(opening(number)) for number in range(20))) == {None}
    assert commits(server) == 2
    await documents.commit(credit(1, "payer"))
    found = await outcomes(documents.commit(opening(20 + number, 1 + number % 2)) for number in range(4))
    assert [type(each) for each in found] == [VersionConflict, type(None)] * 2


async def test_an_expectation_and_a_credit_are_not_one_transaction(
    server: ModelServer, documents: MongoDocuments
) -> None:
    """Of a credit and concurrent expectations, each expectation is met or refused by the version that it finds."""
    expects = [Expectation(ACCOUNTS, "ten_1", "payer", 1)]
    opening = [Commit("ten_1", inserts=[(NOTES, note(f"n{number}"))], expects=expects) for number in range(3)]
    works = [documents.commit(commit) for commit in opening]
    works.insert(1, documents.commit(credit(1, "payer")))
    first, credited, *others = await outcomes(works)
    assert (first, credited) == (None, None)
    assert {type(each) for each in others} == {VersionConflict}


async def test_a_condition_on_a_sum_is_not_shared(server: ModelServer, documents: MongoDocuments) -> None:
    """A commit that depends on the present value of a sum has a transaction of its own."""
    change = Change(ACCOUNTS, "payer", {"posted": -100}, {"posted": 100})
    found = await outcomes([documents.commit(Commit("ten_1", changes=[change])), documents.commit(credit(1, "payer"))])
    assert found.count(None) >= 1
    payer = await documents.get(ACCOUNTS, "ten_1", "payer")
    assert payer is not None
    assert payer["posted"] in (0, 5, 105)


async def test_a_conflict_with_another_process_repeats_the_transaction(
    server: ModelServer, documents: MongoDocuments
) -> None:
    """While another process writes the account, the transaction is made again, and no commit is refused."""
    other = await server.transaction()
    server.locks["suite_accounts", '"ten_1/merchant"'] = other
    works = asyncio.gather(*(documents.commit(credit(number)) for number in range(5)))
    while ("abort", "") not in server.calls:  # noqa: ASYNC110 - the model has no event for it
        await asyncio.sleep(0)
    other.close()
    await works
    merchant = await documents.get(ACCOUNTS, "ten_1", "merchant")
    assert merchant is not None
    assert (merchant["posted"], merchant["version"]) == (25, 6)


async def test_a_conflict_that_stays_runs_the_handlers_again(server: ModelServer, documents: MongoDocuments) -> None:
    """After ATTEMPTS conflicts, each commit of the transaction is refused as a conflict."""
    server.locks["suite_accounts", '"ten_1/merchant"'] = await server.transaction()
    found = await outcomes(documents.commit(credit(number)) for number in range(3))
    assert {type(each) for each in found} == {VersionConflict}
    assert server.calls.count(("abort", "")) == 2 * ATTEMPTS


@pytest.mark.parametrize("happened", [True, False])
async def test_an_unknown_outcome_is_unknown_to_each_commit(
    server: ModelServer, documents: MongoDocuments, happened: bool
) -> None:
    """When the outcome of a transaction of several commits stays unknown, each of them can be retried, at the same
    time: it finds its mark, or it is made."""
    made = [credit(number) for number in range(6)]

    async def commit_first() -> None:
        await documents.commit(made[0])
        server.unknown.extend([happened, False, False])

    first, *others = await outcomes([commit_first(), *(documents.commit(commit) for commit in made[1:])])
    assert first is None
    assert {type(each) for each in others} == {CommitOutcomeUnknown}
    again = await outcomes(documents.commit(commit) for commit in made[1:])
    assert {type(each) for each in again} == {AlreadyApplied if happened else type(None)}
    merchant = await documents.get(ACCOUNTS, "ten_1", "merchant")
    assert merchant is not None
    assert (merchant["posted"], merchant["version"]) == (30, 7)
    assert not server.locks


async def test_an_error_of_the_server_reaches_every_commit(
    server: ModelServer, documents: MongoDocuments, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the server cannot answer, every commit of the transaction raises that, and later ones are made."""
    begin, failing = server.transaction, True

    async def transaction() -> Any:
        if failing:
            raise Unavailable("no primary")
        return await begin()

    monkeypatch.setattr(server, "transaction", transaction)
    found = await outcomes(documents.commit(credit(number)) for number in range(4))
    assert {type(each) for each in found} == {Unavailable}
    failing = False
    await documents.commit(credit(1))


async def test_a_cancelled_caller_does_not_stop_the_transaction(documents: MongoDocuments) -> None:
    """The commit of a caller that is cancelled while it waits is made with the others."""
    callers = [asyncio.create_task(documents.commit(credit(number))) for number in range(4)]
    await asyncio.sleep(0)
    callers[2].cancel()
    assert [type(each) for each in await outcomes(callers)].count(asyncio.CancelledError) == 1
    await documents.settled(60)
    merchant = await documents.get(ACCOUNTS, "ten_1", "merchant")
    assert merchant is not None
    assert merchant["posted"] == 20


async def test_a_commit_of_two_busy_documents_is_not_passed_over(
    server: ModelServer, documents: MongoDocuments
) -> None:
    """A commit that needs two documents is made although each of them is always busy with others."""
    done = asyncio.Event()
    made = Counter[str]()

    async def crediting(to: str) -> None:
        number = 0
        while not done.is_set():
            number += 1
            await documents.commit(Commit("ten_1", changes=[Change(ACCOUNTS, to, {"posted": 1})]))
            made[to] += 1

    busy = [asyncio.create_task(crediting(to)) for to in ("payer", "other") for _ in range(3)]
    await rest()
    before = made.copy()
    both = Commit("ten_1", changes=[Change(ACCOUNTS, to, {"posted": 1}) for to in ("payer", "other")])
    await documents.commit(both)
    done.set()
    await asyncio.gather(*busy)
    assert before["payer"] > 0
    assert (made - before)["payer"] < 50


AMOUNTS = st.integers(-40, 40)
CHANGES = st.builds(
    Change,
    collection=st.just(ACCOUNTS),
    id=st.sampled_from(["merchant", "payer", "other"]),
    increments=st.dictionaries(st.sampled_from(["posted", "held"]), AMOUNTS, min_size=1, max_size=2),
    where=st.sampled_from([{}, {"status": "active"}, {"status": "blocked"}, {"held": 0}]),
    assign=st.sampled_from([{}, {}, {}, {"status": "active"}]),
)


@given(st.lists(st.tuples(st.lists(CHANGES, min_size=1, max_size=3), st.integers(0, 8)), min_size=1, max_size=12))
def test_concurrent_commits_have_the_sum_of_their_effects(stories: list[tuple[list[Change], int]]) -> None:
    """Of any concurrent commits, those that are made change the documents by the sum of their increments, no floor is
    broken, and each marker is committed once."""

    async def run() -> None:
        documents = documents_on(ModelServer(definitions(COLLECTIONS)))
        start = {"merchant": 0, "payer": 100, "other": 30}
        await insert(
            documents, ACCOUNTS, *(account(id, posted=posted, status="active") for id, posted in start.items())
        )

        async def made(changes: list[Change], number: int) -> bool:
            marker = InboxMarker("suite", "/s", f"e{number}")
            for _ in range(50):
                try:
                    await documents.commit(Commit("ten_1", changes=list(changes), inbox=marker))
                except VersionConflict:
                    continue
                except CommitRefused:
                    return False
                return True
            raise AssertionError("conflicts do not end")

        found = await asyncio.gather(*(made(*story) for story in stories))
        sums, versions = Counter[tuple[str, str]](), Counter[str]()
        for (changes, _), happened in zip(stories, found, strict=True):
            for change in changes if happened else ():
                versions[change.id] += 1
                for name, increment in change.increments.items():
                    sums[change.id, name] += increment
        for id, posted in start.items():
            stored = await documents.get(ACCOUNTS, "ten_1", id)
            assert stored is not None
            assert stored["posted"] == posted + sums[id, "posted"]
            assert stored["held"] == sums[id, "held"]
            assert stored["version"] == 1 + versions[id]
            assert stored["posted"] - stored["held"] + stored.get("overdraft", 0) >= 0
        numbers = Counter(number for (_, number), happened in zip(stories, found, strict=True) if happened)
        assert set(numbers.values()) <= {1}

    asyncio.run(run())
