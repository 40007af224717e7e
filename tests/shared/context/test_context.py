"""What a handler is given: the ids of its facts, and one tenant at a time."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from events.accounts import AccountOpened
from shared.adapters.memory.stores import MemoryDocuments
from shared.context.context import Context, Origin
from shared.core.clock import ManualClock
from shared.ports.documents import Collection, InboxMarker

FACT = AccountOpened(account_id="acc_1", owner_id="usr_1", currency="BRL", overdraft_limit=0)


def a_run(cause_id: str = "evt_1", tenant_id: str = "acme") -> Context:
    """What a run of a handler is given."""
    runtime: Any = SimpleNamespace(clock=ManualClock(), documents=MemoryDocuments())
    return Context(runtime, tenant_id, Origin("accounts/open_account", cause_id, "req_1", None, "00"))


def ids_of_a_run(cause_id: str, number: int, tenant_id: str = "acme") -> list[str]:
    """The ids of so many facts of one run."""
    ctx = a_run(cause_id, tenant_id)
    return [ctx.emit(FACT).id for _ in range(number)]


def test_facts_of_a_run_have_ids_of_their_own_however_many_they_are() -> None:
    """No two facts share an id, and those of a second run for the same cause have the same ones."""
    ids = ids_of_a_run("evt_1", 9000)
    assert len(set(ids)) == 9000
    assert ids_of_a_run("evt_1", 9000) == ids
    assert {len(id) for id in ids} == {len("evt_") + 32}


def test_ids_of_facts_grow_in_their_order() -> None:
    """A run's facts lie beside each other in an index, in the order in which they were told."""
    ids = ids_of_a_run("evt_1", 4095)
    assert ids == sorted(ids)


def test_ids_of_facts_depend_on_cause_and_tenant() -> None:
    """Another cause or another tenant makes other ids."""
    runs = [ids_of_a_run("evt_1", 3), ids_of_a_run("evt_2", 3), ids_of_a_run("evt_1", 3, "other")]
    assert len({id for run in runs for id in run}) == 9


def test_a_run_goes_on_for_another_tenant_until_it_has_decided_something() -> None:
    """What was decided for one tenant is never committed, or lost, under another; the inbox marker comes along."""
    ctx = a_run()
    marker = ctx.pending.inbox = InboxMarker("c", "/s", "evt_1")
    ctx.scope_to("other")
    assert (ctx.tenant_id, ctx.pending.tenant_id, ctx.pending.inbox) == ("other", "other", marker)
    things: Collection[Any] = Collection("things")
    decisions: list[Callable[[Context], object]] = [
        lambda ctx: ctx.insert(things, {"id": "t1"}),
        lambda ctx: ctx.replace(things, {"id": "t1", "version": 1}),
        lambda ctx: ctx.change(things, "t1", {"count": 1}),
        lambda ctx: ctx.delete(things, "t1"),
        lambda ctx: ctx.emit(FACT),
    ]
    for decide in decisions:
        ctx = a_run()
        decide(ctx)
        with pytest.raises(RuntimeError):
            ctx.scope_to("other")
