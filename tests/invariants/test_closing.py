"""No transfer is posted to a `closed` account, whatever is committed between the reads and the commit of a closing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import pytest

from shared.ports.documents import Commit
from shared.records.accounts import ACCOUNTS, HOLDS
from tests.invariants.books import check_quiet, everything
from tests.invariants.conftest import Make
from tests.invariants.tenant import Tenant
from tests.invariants.test_no_hold_left import hold_back
from tests.invariants.world import World


def before_commit_of(world: World, status: str, meanwhile: Callable[[], Awaitable[None]]) -> None:
    """Run `meanwhile` once, between the decision to give an account this status and its commit."""
    documents: Any = world.runtime.documents
    commit, happened = documents.commit, False

    async def after(pending: Commit) -> None:
        nonlocal happened
        changed = [document for collection, document in pending.replaces if collection is ACCOUNTS]
        if not happened and any(document["status"] == status for document in changed):
            happened = True
            await meanwhile()
        await commit(pending)

    documents.commit = after


async def status_of(world: World, tenant: Tenant, account_id: str) -> str:
    """Return an account's status."""
    found = await world.runtime.documents.get(ACCOUNTS, tenant.id, account_id)
    assert found is not None
    return found["status"]


@pytest.mark.parametrize("before", ["closing", "closed"])
async def test_a_hold_committed_meanwhile_keeps_the_account_open(before: str) -> None:
    """A hold that is committed after the closing has found nothing in progress is found before the account is
    closed."""
    world = await World.in_memory()
    tenant = await world.tenant()
    payer, payee = await tenant.account(1000), await tenant.account()
    payment_id = await tenant.pay(payer, payee, 300)
    late = hold_back(world, "hold_funds")

    async def hold_funds() -> None:
        for pending in late:
            await world.deliver(pending)

    before_commit_of(world, before, hold_funds)
    answer = await tenant.call("POST", f"/v1/accounts/{payee}/close")
    held = [hold["status"] for hold in await everything(world, tenant.id, HOLDS)]
    if "active" in held:
        assert await status_of(world, tenant, payee) != "closed"
    assert answer.status == 200
    await world.settle()
    await world.tick("accounts-finish-closing")
    entries = await world.runtime.ledger.entries(tenant.id, payee, 0, 10)
    assert await tenant.status(payment_id) == ("settled" if entries else "declined")
    assert await status_of(world, tenant, payee) == ("active" if entries else "closed")
    await check_quiet(world, tenant)


@pytest.mark.parametrize("seed", range(10))
async def test_closings_and_payments_at_once(make: Make, seed: int) -> None:
    """Payments to an account and repeated closings of it, in any order: in the end the account is closed and empty, or
    it has the money."""
    world, random = await make(seed), Random(seed)
    tenant = await world.tenant()
    payer, payee = await tenant.account(1000), await tenant.account()
    for _ in range(4):
        await tenant.call("POST", "/v1/payments", _payment(payer, payee))
        await tenant.call("POST", f"/v1/accounts/{payee}/close")
    await world.settle_in_any_order(random, abreast=4)
    await world.tick("accounts-finish-closing")
    await world.settle_in_any_order(random, abreast=4)
    entries = await world.runtime.ledger.entries(tenant.id, payee, 0, 10)
    assert await status_of(world, tenant, payee) == ("active" if entries else "closed")
    await check_quiet(world, tenant)


def _payment(payer: str, payee: str) -> dict[str, Any]:
    amount = {"value": 100, "currency": "BRL"}
    return {"amount": amount, "method": "internal", "payer_account_id": payer, "payee_account_id": payee}
