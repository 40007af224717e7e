"""The context of a handler: the ids of its facts, updates, and one tenant at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Final

import pytest
from typing_extensions import TypedDict

from events.accounts import AccountOpened
from shared.adapters.memory.stores import MemoryDocuments
from shared.context.context import Context, Origin
from shared.core.clock import ManualClock
from shared.ports.documents import Collection, Commit, Document, Floor, InboxMarker, Index, InvalidWrite


class ThingDocument(Document):
    """A document that a handler writes."""

    name: str
    count: int


class ThingChanges(TypedDict, total=False):
    """The fields that may change."""

    count: int


class WrongChanges(TypedDict, total=False):
    """Changes of a field that the document does not have."""

    colour: str


THINGS: Final = Collection("things", owner="accounts", document=ThingDocument, changes=ThingChanges)
FACT = AccountOpened(account_id="acc_1", owner_id="usr_1", currency="BRL", overdraft_limit=0)


def a_run(cause_id: str = "evt_1", tenant_id: str = "acme") -> Context:
    """Return the context of a run."""
    runtime: Any = SimpleNamespace(clock=ManualClock(), documents=MemoryDocuments((THINGS,)))
    return Context(runtime, tenant_id, Origin("accounts/open_account", cause_id, "req_1", None, "00"))


def thing(**fields: Any) -> ThingDocument:
    """A new thing."""
    made: Any = {"id": "t1", "tenant_id": "acme", "version": 1, "name": "x", "count": 0, **fields}
    return made  # type: ignore[no-any-return]  # a test may give fields that it has not


def ids_of_a_run(cause_id: str, number: int, tenant_id: str = "acme") -> list[str]:
    """Return the ids of the facts of one run."""
    ctx = a_run(cause_id, tenant_id)
    return [ctx.emit(FACT).id for _ in range(number)]


def test_the_facts_of_a_run_have_different_ids() -> None:
    """The facts of a run have different ids, and a second run for the same cause has the same ids."""
    ids = ids_of_a_run("evt_1", 9000)
    assert len(set(ids)) == 9000
    assert ids_of_a_run("evt_1", 9000) == ids
    assert {len(id) for id in ids} == {len("evt_") + 32}


def test_ids_of_facts_increase_in_their_order() -> None:
    """The ids of a run's facts are consecutive in an index, in the order of publication."""
    ids = ids_of_a_run("evt_1", 4095)
    assert ids == sorted(ids)


def test_ids_of_facts_depend_on_cause_and_tenant() -> None:
    """Another cause or tenant gives different ids."""
    runs = [ids_of_a_run("evt_1", 3), ids_of_a_run("evt_2", 3), ids_of_a_run("evt_1", 3, "other")]
    assert len({id for run in runs for id in run}) == 9


def test_a_run_may_change_its_tenant_before_it_has_written() -> None:
    """A run may change its tenant only before it has read or written; its inbox marker is kept."""
    ctx = a_run()
    marker = ctx.pending.inbox = InboxMarker("c", "/s", "evt_1")
    ctx.scope_to("other")
    assert (ctx.tenant_id, ctx.pending.tenant_id, ctx.pending.inbox) == ("other", "other", marker)
    decisions: list[Callable[[Context], object]] = [
        lambda ctx: ctx.insert(THINGS, thing()),
        lambda ctx: ctx.update(THINGS, thing(), count=1),
        lambda ctx: ctx.change(THINGS, "t1", count=1),
        lambda ctx: ctx.delete(THINGS, "t1"),
        lambda ctx: ctx.emit(FACT),
    ]
    for decide in decisions:
        ctx = a_run()
        decide(ctx)
        with pytest.raises(RuntimeError):
            ctx.scope_to("other")


async def test_an_update_changes_the_fields_that_it_names() -> None:
    """An update returns the new document, later reads of the unit of work return it too, and several updates are one
    commit."""
    ctx = a_run()
    first = ctx.update(THINGS, thing(), count=1)
    assert first == thing(count=1)
    second = ctx.update(THINGS, first, count=2)
    assert await ctx.get(THINGS, "t1") == second == thing(count=2)
    assert ctx.pending.replaces == [(THINGS, second)]


@pytest.mark.parametrize("changes", [{"cuont": 1}, {"name": "y"}, {"tenant_id": "other"}, {"version": 7}])
def test_an_update_of_a_field_that_may_not_change_is_refused(changes: dict[str, Any]) -> None:
    """An update of a misspelt field, or of a field that may not change, is an error in the handler."""
    ctx = a_run()
    with pytest.raises(InvalidWrite, match=f"things: no change may set {next(iter(changes))}"):
        ctx.update(THINGS, thing(), **changes)
    assert ctx.pending.is_empty


@pytest.mark.parametrize("fields", [{"tenant_id": "other"}, {"version": 2}])
def test_a_new_document_is_the_tenants_own_and_its_first_version(fields: dict[str, Any]) -> None:
    """Inserting a document of another tenant or of a later version is an error in the handler."""
    with pytest.raises(InvalidWrite, match="things/t1"):
        a_run().insert(THINGS, thing(**fields))


def test_a_collection_is_made_of_fields_that_its_documents_have() -> None:
    """A collection with an index, floor or changeable field that its documents do not have is refused at its
    definition."""
    for rules in ({"indexes": (Index(("nmae",)),)}, {"floors": (Floor((("cuont", 1),)),)}, {"changes": WrongChanges}):
        made: Any = {"owner": "accounts", "document": ThingDocument, "changes": ThingChanges, **rules}
        with pytest.raises(ValueError, match=r"things have no field (nmae|cuont|colour)"):
            Collection("things", **made)
    made = {"owner": "accounts", "document": ThingDocument, "changes": Document}
    with pytest.raises(ValueError, match="cannot set id, tenant_id, version"):
        Collection("things", **made)


class _FarDocuments:
    """Documents on a server: each read waits, and the most reads at one time are counted."""

    answers_at_once = False

    def __init__(self) -> None:
        self.near = MemoryDocuments((THINGS,))
        self.reads: list[str] = []
        self.most = 0
        self._waiting = 0

    @property
    def read_token(self) -> None:
        return None

    async def get(self, collection: Any, tenant_id: str, id: str) -> Any:
        self.reads.append(id)
        self._waiting += 1
        self.most = max(self.most, self._waiting)
        await asyncio.sleep(0)
        self._waiting -= 1
        return await self.near.get(collection, tenant_id, id)


async def a_far_run() -> tuple[Context, _FarDocuments]:
    """Return the context of a run on a server with one thing."""
    documents = _FarDocuments()
    await documents.near.commit(Commit("acme", inserts=[(THINGS, dict(thing()))]))
    runtime: Any = SimpleNamespace(clock=ManualClock(), documents=documents)
    return Context(runtime, "acme", Origin("accounts/open_account", "evt_1", "req_1", None, "00")), documents


async def test_loaded_documents_are_read_at_the_same_time() -> None:
    """Documents that are loaded together are read at the same time, absent ones too, and not again by the next get."""
    ctx, documents = await a_far_run()
    await ctx.load((THINGS, "t1"), (THINGS, "t2"))
    assert documents.most == 2
    assert await ctx.get(THINGS, "t1") == thing()
    assert await ctx.get(THINGS, "t2") is None
    assert documents.reads == ["t1", "t2"]


async def test_a_loaded_document_answers_once() -> None:
    """The second get of a loaded document reads it again, so that a handler that waits for a change finds it."""
    ctx, documents = await a_far_run()
    await ctx.load((THINGS, "t1"))
    await ctx.get(THINGS, "t1")
    await documents.near.commit(Commit("acme", replaces=[(THINGS, dict(thing(count=7)))]))
    found = await ctx.get(THINGS, "t1")
    assert found is not None
    assert found["count"] == 7


async def test_a_written_document_is_not_the_loaded_one() -> None:
    """After an update of a loaded document, a get returns it as it will be stored."""
    ctx, _ = await a_far_run()
    await ctx.load((THINGS, "t1"))
    found = await ctx.get(THINGS, "t1")
    assert found is not None
    await ctx.load((THINGS, "t1"))
    ctx.update(THINGS, found, count=3)
    again = await ctx.get(THINGS, "t1")
    assert again is not None
    assert again["count"] == 3


async def test_loaded_documents_are_of_one_tenant() -> None:
    """A run that changes its tenant forgets the documents that it has loaded."""
    ctx, _ = await a_far_run()
    await ctx.load((THINGS, "t1"))
    ctx.scope_to("other")
    assert await ctx.get(THINGS, "t1") is None


async def test_nothing_is_loaded_where_a_get_answers_at_once() -> None:
    """A store in memory is not read by a load."""
    ctx = a_run()
    await ctx.load((THINGS, "t1"))
    assert ctx._loaded is None
