"""What a handler is given: the ids of its facts."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from events.accounts import AccountOpened
from shared.adapters.memory import MemoryDocuments
from shared.clock import ManualClock
from shared.context import Context, Origin

FACT = AccountOpened(account_id="acc_1", owner_id="usr_1", currency="BRL", overdraft_limit=0)


def ids_of_a_run(cause_id: str, number: int, tenant_id: str = "acme") -> list[str]:
    """The ids of so many facts of one run."""
    runtime: Any = SimpleNamespace(clock=ManualClock(), documents=MemoryDocuments())
    ctx = Context(runtime, tenant_id, Origin("accounts/open_account", cause_id, "req_1", None, "00"))
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
