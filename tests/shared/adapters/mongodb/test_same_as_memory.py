"""Any commit has the same effect on MongoDB's model as on the store in memory, which is the reference of the port."""

from __future__ import annotations

import asyncio
from operator import or_
from typing import Any

from hypothesis import given, note
from hypothesis import strategies as st

from shared.adapters.memory.stores import MemoryDocuments
from shared.adapters.mongodb.documents import MongoDocuments
from shared.adapters.mongodb.schema import definitions
from shared.ports.documents import Change, Commit, CommitRefused, Documents, Expectation, InboxMarker, Query
from tests.ports.documents_suite import ACCOUNTS, COLLECTIONS, account
from tests.shared.adapters.mongodb.model_server import ModelServer

IDS = st.sampled_from(["a1", "a2", "a3"])
AMOUNTS = st.integers(-3, 3)
STATUSES = st.sampled_from(["active", "blocked", None])
FIELDS = st.fixed_dictionaries(
    {"posted": st.integers(0, 5), "held": st.integers(0, 3)},
    optional={"status": STATUSES},
)
IBANS = st.fixed_dictionaries({}, optional={"iban": st.sampled_from(["BR1", "BR2", None])})
"""Only new documents have a unique value: two documents of one commit cannot exchange theirs on MongoDB."""
VERSIONS = st.integers(1, 3)


def a_document(id: str, version: int, fields: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return a write of a whole document."""
    return ACCOUNTS, {**account(id, **fields), "version": version}


CHANGES = st.builds(
    Change,
    collection=st.just(ACCOUNTS),
    id=IDS,
    increments=st.dictionaries(st.sampled_from(["posted", "held"]), AMOUNTS, max_size=2),
    where=st.fixed_dictionaries({}, optional={"status": STATUSES, "held": st.integers(0, 3)}),
    assign=st.fixed_dictionaries({}, optional={"status": STATUSES, "held": st.integers(0, 3)}),
)
COMMITS = st.builds(
    Commit,
    st.just("ten_1"),
    inserts=st.lists(st.builds(a_document, IDS, st.just(1), st.builds(or_, FIELDS, IBANS)), max_size=2),
    replaces=st.lists(st.builds(a_document, IDS, VERSIONS, FIELDS), max_size=2),
    changes=st.lists(CHANGES, max_size=3),
    deletes=st.lists(st.tuples(st.just(ACCOUNTS), IDS), max_size=1),
    expects=st.lists(st.builds(Expectation, st.just(ACCOUNTS), st.just("ten_1"), IDS, VERSIONS), max_size=1),
    inbox=st.none() | st.builds(InboxMarker, st.just("suite"), st.just("/s"), st.sampled_from(["e1", "e2", "e3"])),
)


def written(commit: Commit) -> dict[str, Any]:
    """Return what a commit writes, for the report of a failing example."""
    return {name: getattr(commit, name) for name in Commit.__slots__ if getattr(commit, name)}


async def outcome(documents: Documents, commit: Commit) -> tuple[bool, list[dict[str, Any]]]:
    """Commit; return whether that was refused, and all documents afterwards."""
    refused = False
    try:
        await documents.commit(commit)
    except CommitRefused:
        refused = True
    found: Any = await documents.find(ACCOUNTS, "ten_1", Query(limit=100))
    return refused, found


@given(st.lists(COMMITS, min_size=1, max_size=6))
def test_a_commit_has_the_same_effect_as_in_memory(commits: list[Commit]) -> None:
    """For any sequence of commits, both stores refuse the same commits, and have the same documents after each."""

    async def run() -> None:
        memory = MemoryDocuments(COLLECTIONS)
        mongo = MongoDocuments(ModelServer(definitions(COLLECTIONS)), COLLECTIONS)  # type: ignore[arg-type]  # a model
        start = Commit("ten_1", inserts=[(ACCOUNTS, account("a1", posted=5, status="active"))])
        for commit in (start, *commits):
            note(f"{written(commit)}")
            assert await outcome(mongo, commit) == await outcome(memory, commit)

    asyncio.run(run())
