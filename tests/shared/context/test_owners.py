"""A collection has one owner: only the functions of its domain write it."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from events.accounts import AccountOpened
from shared.adapters.memory.stores import MemoryDocuments
from shared.context.context import Context, Origin
from shared.core.clock import ManualClock
from shared.functions.decorators import event_function, http_function, operation_of
from shared.http.models import Command, Resource
from shared.http.operation import HttpOperation
from shared.messaging.operation import EventOperation
from shared.ports.documents import InvalidWrite
from shared.records.accounts import ACCOUNTS, AccountDocument
from shared.records.catalogue import COLLECTIONS
from tests.harness import Harness

ACCOUNT: AccountDocument = {
    "id": "acc_1",
    "tenant_id": "acme",
    "version": 1,
    "owner_id": "usr_1",
    "currency": "BRL",
    "status": "active",
    "block_mode": None,
    "posted": 0,
    "held": 0,
    "overdraft_limit": 0,
    "metadata": None,
    "created_at": "2026-01-01T00:00:00.000000Z",
    "updated_at": "2026-01-01T00:00:00.000000Z",
}
WRITES: dict[str, Callable[[Context], object]] = {
    "insert": lambda ctx: ctx.insert(ACCOUNTS, ACCOUNT),
    "update": lambda ctx: ctx.update(ACCOUNTS, ACCOUNT, posted=5),
    "change": lambda ctx: ctx.change(ACCOUNTS, "acc_1", posted=5),
    "delete": lambda ctx: ctx.delete(ACCOUNTS, "acc_1"),
}


def a_run(operation: str) -> Context:
    """Return the context of a run of an operation."""
    runtime: Any = SimpleNamespace(clock=ManualClock(), documents=MemoryDocuments(COLLECTIONS))
    return Context(runtime, "acme", Origin(operation, "evt_1", "req_1", None, "00"))


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
async def test_another_domain_writes_nothing(write: Callable[[Context], object]) -> None:
    """Every write of a function of another domain is refused with both names; the owner's functions may write."""
    for scoped in (False, True):
        stranger = a_run("statements/project_transfer")
        if scoped:
            stranger.scope_to("acme")
        with pytest.raises(InvalidWrite, match="statements may not write accounts: only its owner, accounts, may"):
            write(stranger)
        assert stranger.pending.is_empty
    owner = a_run("accounts/apply_transfer")
    write(owner)
    assert not owner.pending.is_empty


class Credit(Command):
    """A command that credits an account."""

    account_id: str


@http_function("POST /v1/credits", scope="accounts:write")
async def credit(command: Credit, ctx: Context) -> Resource:
    """An operation that credits an account which another domain owns."""
    ctx.update(ACCOUNTS, await ctx.required(ACCOUNTS, command.account_id), posted=1_000_000)
    return Resource()


@event_function(AccountOpened)
async def give_credit(event: AccountOpened, ctx: Context) -> None:
    """A reaction that credits an account which another domain owns."""
    ctx.change(ACCOUNTS, event.account_id, posted=1_000_000)


async def test_a_request_that_writes_another_domains_collection_is_500(harness: Harness) -> None:
    """A request whose handler writes another domain's collection is answered with 500 `internal_error`, and nothing
    is stored."""
    account = await harness.account()
    operation = operation_of(credit)
    assert isinstance(operation, HttpOperation)
    answer = await harness.http(operation, "POST", "/v1/credits", {"account_id": account["id"]})
    assert (answer.status, answer.code) == (500, "internal_error")
    assert await harness.balance(account["id"]) == (0, 0, 0)


async def test_an_event_that_writes_another_domains_collection_is_500(harness: Harness) -> None:
    """An event whose handler writes another domain's collection is answered with 500, retried and then
    dead-lettered."""
    account = await harness.account()
    operation = operation_of(give_credit)
    assert isinstance(operation, EventOperation)
    opened = AccountOpened(account_id=account["id"], owner_id="usr_1", currency="BRL", overdraft_limit=0)
    event = harness.envelope(opened)
    for _ in range(2):
        delivery = await harness.deliver(operation, event)
        assert (delivery.status, delivery.headers["Kne-Code"]) == (500, "internal_error")
    assert await harness.balance(account["id"]) == (0, 0, 0)
