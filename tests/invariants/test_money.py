"""Debits equal credits and no available balance is negative, in any order of requests and events."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest

from tests.invariants.books import check_always, check_quiet
from tests.invariants.conftest import Make
from tests.invariants.tenant import Tenant
from tests.invariants.world import World


@pytest.fixture(params=["memory", "disk", "two processes"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    """A platform on either store, whose every call suspends; and two processes on hostile stores."""
    if request.param == "memory":
        made = await World.in_memory(seed=7, interleaved=True)
    elif request.param == "two processes":
        made = await World.hostile(seed=7)
    else:
        made = await World.on_disk(tmp_path, seed=7, interleaved=True)
    yield made
    await made.close()


async def outcomes(tenant: Tenant) -> Counter[str]:
    """Count the tenant's payments by status."""
    payments = await tenant.listed("/v1/payments")
    return Counter(p["status"] if p["failure"] is None else p["failure"]["code"] for p in payments)


async def fifty_at_once(tenant: Tenant) -> None:
    """Request fifty payments of 1.00 from an account with 10.00 at the same time."""
    payer, payee = await tenant.account(1000), await tenant.account()
    await asyncio.gather(*(tenant.pay(payer, payee, 100) for _ in range(50)))


async def test_ten_of_fifty_payments_settle(world: World) -> None:
    """Of 50 concurrent payments of 1.00 from an account with 10.00, exactly 10 settle, 40 are declined, and nothing
    stays held."""
    tenant = await world.tenant()
    await fifty_at_once(tenant)
    while world.pool.pending or await world.publish_outbox():
        batch, world.pool.pending = world.pool.pending, []
        await asyncio.gather(*(world.deliver(pending) for pending in batch))
        await check_always(world, tenant)

    assert await outcomes(tenant) == {"settled": 10, "insufficient_funds": 40}
    await check_quiet(world, tenant)


@pytest.mark.parametrize("seed", range(3))
async def test_ten_of_fifty_payments_settle_in_any_order(make: Make, seed: int) -> None:
    """The result is the same when every event is delivered twice, in any order and concurrently, and the cache loses
    its contents."""
    world = await make(seed)
    tenant = await world.tenant()
    await fifty_at_once(tenant)
    await world.settle_in_any_order(Random(seed), abreast=8)

    assert await outcomes(tenant) == {"settled": 10, "insufficient_funds": 40}
    await check_quiet(world, tenant)


async def test_an_overdraft_is_used_to_its_limit_and_no_further(world: World) -> None:
    """An account with 3.00 and an overdraft limit of 2.00 pays 1.00 five times, and then has nothing available."""
    tenant = await world.tenant()
    payer, payee = await tenant.account(300, overdraft=200), await tenant.account()
    await asyncio.gather(*(tenant.pay(payer, payee, 100) for _ in range(9)))
    await world.settle_in_any_order(Random(1), abreast=4)

    assert await outcomes(tenant) == {"settled": 5, "insufficient_funds": 4}
    balance = await tenant.get(f"/v1/accounts/{payer}/balance")
    assert (balance["posted"], balance["held"], balance["available"]) == (-200, 0, 0)
    await check_quiet(world, tenant)


@pytest.mark.parametrize("seed", range(4))
async def test_payments_in_a_ring_change_no_sum(make: Make, seed: int) -> None:
    """Payments in a ring, in which each account pays before it has received, do not change the tenant's total."""
    world = await make(seed)
    tenant, random = await world.tenant(), Random(seed)
    ring = [await tenant.account(500) for _ in range(4)]
    for _ in range(10):
        at = random.randrange(4)
        await tenant.pay(ring[at], ring[(at + 1) % 4], random.randint(1, 600))
    await world.settle_in_any_order(random, abreast=6)

    balances = [await tenant.get(f"/v1/accounts/{account}/balance") for account in ring]
    assert sum(balance["posted"] for balance in balances) == 2000
    await check_quiet(world, tenant)
