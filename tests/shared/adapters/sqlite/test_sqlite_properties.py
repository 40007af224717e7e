"""Random commits on the embedded store, compared with the stores in memory."""

from __future__ import annotations

import asyncio
import tempfile
from copy import copy
from pathlib import Path
from typing import Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st
from typing_extensions import TypedDict

from shared.adapters.memory.stores import MemoryDocuments, MemoryLedger
from shared.adapters.sqlite.store import SqliteStore
from shared.core.clock import SystemClock
from shared.core.settings import Settings
from shared.ports.documents import (
    Change,
    Collection,
    Commit,
    CommitRefused,
    Document,
    Documents,
    Floor,
    InboxMarker,
    Index,
    Query,
    Unavailable,
)
from shared.ports.ledger import Cause, LedgerRefused, LedgerStore, Leg, Transfer
from tests.opening import open_adapter


class ThingDocument(Document):
    """A document for random writes."""

    color: str | None
    name: str | None
    posted: int
    held: int


class ThingChanges(TypedDict, total=False):
    """The fields that may change."""

    color: str | None
    name: str | None
    posted: int
    held: int


THINGS: Final = Collection(
    "things",
    owner="tests",
    document=ThingDocument,
    changes=ThingChanges,
    indexes=(Index(("color",)), Index(("name",), unique=True)),
    floors=(Floor((("posted", 1), ("held", -1))),),
)
IDS = [f"i{number}" for number in range(5)]
TENANTS = ["ten_1", "ten_2"]

tenants = st.sampled_from(TENANTS)
ids = st.sampled_from(IDS)
small = st.integers(-1, 2)
fields = st.fixed_dictionaries(
    {
        "color": st.sampled_from(["red", "blue", None]),
        "name": st.sampled_from(["x", "y", "z", None]),
        "posted": st.integers(1, 3),
        "held": st.integers(0, 1),
    }
)
writes = st.one_of(
    st.tuples(st.just("insert"), ids, fields),
    st.tuples(st.just("replace"), ids, fields, st.booleans()),
    st.tuples(st.just("change"), ids, st.dictionaries(st.sampled_from(["posted", "held"]), small, min_size=1)),
    st.tuples(st.just("delete"), ids),
)
kinds = {
    "commit": st.tuples(
        st.just("commit"), tenants, st.lists(writes, min_size=1, max_size=2), st.none() | st.integers(0, 6)
    ),
    "transfer": st.tuples(
        st.just("transfer"), tenants, st.sampled_from(["t1", "t2", "t3"]), st.lists(small, min_size=1, max_size=3)
    ),
    "refuse": st.tuples(st.just("refuse"), tenants, st.sampled_from(["t1", "t2", "t3"])),
    "look": st.tuples(st.just("look")),
    "pause": st.tuples(st.just("pause")),
    "fail": st.tuples(st.just("fail")),
    "reopen": st.tuples(st.just("reopen")),
}
# Most steps are commits; the other steps are rarer.
steps = st.sampled_from(["commit"] * 12 + list(kinds)).flatmap(lambda kind: kinds[kind])


async def build(documents: Documents, tenant_id: str, planned: list[Any], marker: int | None) -> Commit:
    """Return the commit with these writes for a store. A stale replacement has an old version."""
    commit = Commit(tenant_id, inbox=None if marker is None else InboxMarker("c", "/s", f"e{marker}"))
    for kind, id, *rest in planned:
        if kind == "insert":
            commit.inserts.append((THINGS, {"id": id, "tenant_id": tenant_id, "version": 1, **rest[0]}))
        elif kind == "replace":
            found = await documents.get(THINGS, tenant_id, id)
            version = (found["version"] if found else 1) + (1 if rest[1] else 0)
            commit.replaces.append((THINGS, {"id": id, "tenant_id": tenant_id, "version": version, **rest[0]}))
        elif kind == "change":
            commit.changes.append(Change(THINGS, id, rest[0], {}))
        else:
            commit.deletes.append((THINGS, id))
    return commit


async def outcome(documents: Documents, tenant_id: str, planned: list[Any], marker: int | None) -> str:
    """Commit the writes, and return `done` or the name of the refusal."""
    try:
        await documents.commit(await build(documents, tenant_id, planned, marker))
    except CommitRefused as refused:
        return type(refused).__name__
    return "done"


async def posted(ledger: LedgerStore, tenant_id: str, id: str, amounts: list[int]) -> Any:
    """Append a transfer from `a` to one account for each amount, and return the result."""
    total = sum(amounts)
    legs = [Leg("a", "debit", total, "BRL"), *(Leg(f"b{n}", "credit", each, "BRL") for n, each in enumerate(amounts))]
    try:
        return await ledger.append(Transfer(tenant_id, id, Cause("test", id), tuple(legs)), "2026")
    except LedgerRefused as refused:
        return type(refused).__name__


class Pair:
    """The store, its model, and a copy of the model from when everything was last on disk."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self.documents = MemoryDocuments((THINGS,))
        self.ledger = MemoryLedger()
        self.store: SqliteStore

    async def open(self) -> None:
        small_memory = Settings(document_cache_entries=3, store_batch_seconds=0.0)
        self.store = await open_adapter(
            SqliteStore(self._data_dir, collections=(THINGS,), settings=small_memory, clock=SystemClock())
        )
        self.keep()

    def keep(self) -> None:
        """Wait until everything is on disk, and copy the model for a failed batch."""
        self._kept_documents, self._kept_ledger = copy(self.documents), copy(self.ledger)
        self._kept_documents._inbox = set(self.documents._inbox)
        self._kept_ledger._known = dict(self.ledger._known)
        self._kept_ledger._entries = dict(self.ledger._entries)

    async def run(self, step: tuple[Any, ...]) -> None:
        """Do a step on both, and compare the results."""
        kind, *rest = step
        if kind == "commit":
            ours, theirs = await outcome(self.store.documents, *rest), await outcome(self.documents, *rest)
            # When a commit has two reasons for a refusal, a store may give either.
            assert ours == theirs or {ours, theirs} == {"AlreadyExists", "GuardRefused"}
        elif kind == "transfer":
            assert await posted(self.store.ledger, *rest) == await posted(self.ledger, *rest)
        elif kind == "refuse":
            arguments = (*rest, Cause("test", rest[1]), "late", "2026")
            assert await self.store.ledger.refuse(*arguments) == await self.ledger.refuse(*arguments)
        elif kind == "look":
            await self.compare()
        elif kind == "pause":
            await asyncio.sleep(0.0005)
        elif kind == "fail":
            await self.fail()
        else:
            await self.store.aclose()
            await self.open()

    async def fail(self) -> None:
        """Let one batch fail: store and model return to the state on disk before it."""
        await self.store.documents.durable()
        self.keep()
        original = self.store.documents.drain

        def broken() -> Any:
            self.store.documents.drain = original  # type: ignore[method-assign]  # once only
            return [*original(), ("INSERT INTO nowhere VALUES (1)", [], False)]

        self.store.documents.drain = broken  # type: ignore[method-assign]  # a disk cannot be filled in a test
        lost = [
            ("insert", "lost", {"color": None, "name": None, "posted": 1, "held": 0}),
            ("change", "i1", {"posted": 1}),
        ]
        await outcome(self.store.documents, "ten_1", lost, 99)
        await outcome(self.store.documents, "ten_1", lost[:1], None)
        await posted(self.store.ledger, "ten_1", "lost", [5])
        try:
            await self.store.documents.durable()
        except Unavailable:
            self.documents, self.ledger = self._kept_documents, self._kept_ledger
            self.keep()

    async def compare(self) -> None:
        """Compare all reads of both, and the columns of the tables with the documents."""
        await self.store.documents.durable()
        for column in self.store.documents._tables[THINGS].columns:
            differs = f"SELECT count(*) FROM d_things WHERE f_{column} IS NOT json_extract(body, '$.{column}')"
            assert self.store._reader.execute(differs).fetchone() == (0,)
        for tenant_id in TENANTS:
            for id in (*IDS, "lost"):
                mine = await self.store.documents.get(THINGS, tenant_id, id)
                assert mine == await self.documents.get(THINGS, tenant_id, id)
            for number in range(7):
                marker = InboxMarker("c", "/s", f"e{number}")
                assert await self.store.documents.seen(marker) == await self.documents.seen(marker)
            for query in (Query(), Query(where={"color": "red"}), Query(any_of=({"color": "red"}, {"name": "x"}))):
                for scope in (tenant_id, None):
                    found = list(await self.store.documents.find(THINGS, scope, query))
                    assert found == list(await self.documents.find(THINGS, scope, query))
            assert list(await self.store.ledger.turnover(tenant_id)) == list(await self.ledger.turnover(tenant_id))
            for id in ("t1", "t2", "t3", "lost"):
                assert await self.store.ledger.transfer(tenant_id, id) == await self.ledger.transfer(tenant_id, id)
            entries = await self.store.ledger.entries(tenant_id, "a", 0, 100)
            assert list(entries) == list(await self.ledger.entries(tenant_id, "a", 0, 100))


@settings(max_examples=50)
@given(st.lists(steps, min_size=30, max_size=60))
def test_the_store_agrees_with_the_model(story: list[tuple[Any, ...]]) -> None:
    """The store and its model agree after any commits, failed batches and restarts, with documents in memory or not."""

    async def play() -> None:
        with tempfile.TemporaryDirectory() as directory:
            pair = Pair(Path(directory) / "data")
            await pair.open()
            try:
                for step in story:
                    await pair.run(step)
                await pair.compare()
            finally:
                await pair.store.aclose()

    asyncio.run(play())
