"""A payment or refund that fails, is canceled or expires leaves no hold."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import Random

import pytest

from shared.ports.documents import Change, Commit
from shared.records.accounts import ACCOUNTS, HOLDS
from tests.invariants.bodies import brl
from tests.invariants.books import check_quiet, everything
from tests.invariants.conftest import Make
from tests.invariants.deliveries import Pending
from tests.invariants.tenant import Tenant
from tests.invariants.world import World

Story = Callable[[World, Tenant, str, str, Random], Awaitable[str]]
"""Makes a payment of the payer, who has 10.00, brings it to its end, and returns its id."""

SEEDS = range(3)


def hold_back(world: World, *consumers: str) -> list[Pending]:
    """Take the deliveries to these consumers out of the pool."""
    held = [pending for pending in world.pool.pending if pending.consumer.name in consumers]
    world.pool.pending = [pending for pending in world.pool.pending if pending not in held]
    return held


async def settle_but(world: World, *consumers: str) -> list[Pending]:
    """Deliver everything except the deliveries to these consumers, which are returned."""
    held: list[Pending] = []
    while world.pool.pending or await world.publish_outbox():
        held += hold_back(world, *consumers)
        if world.pool.pending:
            await world.deliver(world.pool.pending.pop(0))
    return held


async def declined_for_want_of_funds(world: World, tenant: Tenant, payer: str, payee: str, random: Random) -> str:
    """The amount exceeds the available balance."""
    return await tenant.pay(payer, payee, 1001)


async def declined_by_a_block(world: World, tenant: Tenant, payer: str, payee: str, random: Random) -> str:
    """The payer's account is blocked when the hold is requested."""
    payment_id = await tenant.pay(payer, payee, 500)
    await assign(world, tenant, payer, status="blocked", block_mode="debits")
    return payment_id


async def declined_by_a_blocked_payee(world: World, tenant: Tenant, payer: str, payee: str, random: Random) -> str:
    """The payee's account is blocked for all movements when the hold is requested."""
    payment_id = await tenant.pay(payer, payee, 500)
    await assign(world, tenant, payee, status="blocked", block_mode="all")
    return payment_id


async def canceled_before_the_hold(world: World, tenant: Tenant, payer: str, payee: str, random: Random) -> str:
    """The cancellation arrives at accounts before the hold request."""
    payment_id = await tenant.pay(payer, payee, 500)
    late = hold_back(world, "hold_funds")
    await tenant.made(f"/v1/payments/{payment_id}/cancel")
    await world.settle_in_any_order(random)
    world.pool.pending += late
    return payment_id


async def canceled_while_held(world: World, tenant: Tenant, payer: str, payee: str, random: Random) -> str:
    """The payment is canceled after the hold and before payments gets `funds_held`."""
    payment_id = await tenant.pay(payer, payee, 500, capture="manual")
    late = await settle_but(world, "authorize")
    await tenant.made(f"/v1/payments/{payment_id}/cancel")
    world.pool.pending += late
    return payment_id


async def canceled_when_authorized(world: World, tenant: Tenant, payer: str, payee: str, random: Random) -> str:
    """The payment is canceled when it is authorized."""
    payment_id = await tenant.pay(payer, payee, 500, capture="manual")
    await world.settle_in_any_order(random)
    await tenant.made(f"/v1/payments/{payment_id}/cancel")
    return payment_id


async def expired_when_authorized(world: World, tenant: Tenant, payer: str, payee: str, random: Random) -> str:
    """The payment is not captured in time, and the sweep runs repeatedly."""
    payment_id = await tenant.pay(payer, payee, 500, capture="manual", expires_in=60)
    await world.settle_in_any_order(random)
    world.later(seconds=61)
    for _ in range(3):
        await world.tick("operations-expire-holds")
    return payment_id


async def expired_without_an_answer(world: World, tenant: Tenant, payer: str, payee: str, random: Random) -> str:
    """Accounts answers no attempt in time, and then all of them."""
    payment_id = await tenant.pay(payer, payee, 500)
    late = hold_back(world, "hold_funds")
    while await tenant.status(payment_id) == "created":
        world.later(seconds=301)
        await world.tick("operations-sweep-sagas")
        late += await settle_but(world, "hold_funds")
    world.pool.pending += late
    return payment_id


async def failed_past_the_deadline(world: World, tenant: Tenant, payer: str, payee: str, random: Random) -> str:
    """The first request for the transfer arrives after its deadline."""
    payment_id = await tenant.pay(payer, payee, 500)
    late = await settle_but(world, "post_transfer")
    world.later(seconds=301)
    world.pool.pending += late
    return payment_id


STORIES: dict[Story, str] = {
    declined_for_want_of_funds: "declined",
    declined_by_a_block: "declined",
    declined_by_a_blocked_payee: "declined",
    canceled_before_the_hold: "canceled",
    canceled_while_held: "canceled",
    canceled_when_authorized: "canceled",
    expired_when_authorized: "expired",
    expired_without_an_answer: "expired",
    failed_past_the_deadline: "failed",
}


async def assign(world: World, tenant: Tenant, account_id: str, **fields: str) -> None:
    """Set fields of an account for which there is no operation yet."""
    await world.runtime.documents.commit(Commit(tenant.id, changes=[Change(ACCOUNTS, account_id, {}, {}, fields)]))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
async def test_an_unpaid_payment_leaves_no_hold(make: Make, story: Story, seed: int) -> None:
    """A payment that is declined, canceled, expired or failed leaves no hold on the payer's account."""
    world = await make(seed)
    tenant = await world.tenant()
    payer, payee = await tenant.account(1000), await tenant.account()
    payment_id = await story(world, tenant, payer, payee, Random(seed))
    await world.settle_in_any_order(Random(seed))

    assert await tenant.status(payment_id) == STORIES[story]
    balance = await tenant.get(f"/v1/accounts/{payer}/balance")
    assert (balance["posted"], balance["held"], balance["available"]) == (1000, 0, 1000)
    assert (await tenant.get(f"/v1/accounts/{payee}/balance"))["posted"] == 0
    assert {hold["status"] for hold in await everything(world, tenant.id, HOLDS)} <= {"released", "refused"}
    await check_quiet(world, tenant)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("way", ["spent", "blocked", "late"])
async def test_a_refund_that_fails_leaves_no_hold(make: Make, way: str, seed: int) -> None:
    """A refund that the payee cannot fund, or whose transfer is requested too late, does not change the payee's
    balance."""
    world = await make(seed)
    tenant, random = await world.tenant(), Random(seed)
    payer, payee = await tenant.account(1000), await tenant.account()
    payment_id = await tenant.pay(payer, payee, 600)
    await world.settle()
    if way == "spent":
        await tenant.pay(payee, payer, 500)
        await world.settle()
    before = (await tenant.get(f"/v1/accounts/{payee}/balance"))["posted"]
    refund = await tenant.made(f"/v1/payments/{payment_id}/refunds")
    if way == "blocked":
        await assign(world, tenant, payee, status="blocked", block_mode="debits")
    if way == "late":
        late = await settle_but(world, "post_transfer")
        world.later(seconds=301)
        world.pool.pending += late
    await world.settle_in_any_order(random)

    ended = await tenant.get(f"/v1/refunds/{refund['id']}")
    codes = {"spent": "insufficient_funds", "blocked": "account_blocked", "late": "deadline_passed"}
    assert (ended["status"], ended["failure"]["code"]) == ("failed", codes[way])
    balance = await tenant.get(f"/v1/accounts/{payee}/balance")
    assert (balance["posted"], balance["held"], balance["available"]) == (before, 0, before)
    await check_quiet(world, tenant)


@pytest.mark.parametrize("seed", SEEDS)
async def test_the_rest_of_a_partial_capture_is_free_again(make: Make, seed: int) -> None:
    """When 2.50 of a hold of 6.00 are captured, the other 3.50 are available to the payer again."""
    world = await make(seed)
    tenant = await world.tenant()
    payer, payee = await tenant.account(1000), await tenant.account()
    payment_id = await tenant.pay(payer, payee, 600, capture="manual")
    await world.settle_in_any_order(Random(seed))
    await tenant.made(f"/v1/payments/{payment_id}/capture", {"amount": brl(250)})
    await world.settle_in_any_order(Random(seed))

    balance = await tenant.get(f"/v1/accounts/{payer}/balance")
    assert (balance["posted"], balance["held"], balance["available"]) == (750, 0, 750)
    await check_quiet(world, tenant)


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_settled_payment_is_not_failed_by_a_late_sweep(make: Make, seed: int) -> None:
    """A payment whose transfer was recorded in time settles, also when `transfer_posted` is late and sweeps repeat
    the request."""
    world = await make(seed)
    tenant = await world.tenant()
    payer, payee = await tenant.account(1000), await tenant.account()
    payment_id = await tenant.pay(payer, payee, 400)
    late = await settle_but(world, "settle", "apply_transfer", "project_transfer")
    for _ in range(12):
        world.later(seconds=301)
        await world.tick("operations-sweep-sagas")
        late += await settle_but(world, "settle", "apply_transfer", "project_transfer")
    world.pool.pending += late
    await world.settle_in_any_order(Random(seed))

    assert await tenant.status(payment_id) == "settled"
    await check_quiet(world, tenant)
