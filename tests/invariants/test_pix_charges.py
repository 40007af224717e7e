"""The money of PIX charges: each charge is credited once, and everything else that was paid is in the suspense account.

On hostile stores commits conflict, are refused, or have an unknown outcome, and the provider's answers are lost.
Payments are reported while their charge is still being created, several times, concurrently and in any order.
"""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from tests.invariants.bodies import brl
from tests.invariants.books import check_quiet
from tests.invariants.charges import balance, pay_charges_at_once, reference_of, report
from tests.invariants.conftest import Make

SEEDS = range(8)


@pytest.mark.parametrize("seed", SEEDS)
async def test_every_payment_is_in_one_place(make: Make, seed: int) -> None:
    """Of two payments of a charge one is credited; the other one and a wrong amount are suspended; none is lost."""
    await pay_charges_at_once(await make(seed), seed)


@pytest.mark.parametrize("seed", SEEDS)
async def test_expiry_and_payment_at_once(make: Make, seed: int) -> None:
    """A charge that is paid and swept as overdue concurrently becomes paid, and its money is credited once."""
    world = await make(seed)
    tenant = await world.tenant()
    account, txid = await tenant.account(), "Order" + "0" * 25
    await tenant.made("/v1/pix/charges", {"account_id": account, "amount": brl(700), "txid": txid, "expires_in": 60})
    world.later(seconds=59)
    # The payment is made a second after the expiry by the platform's clock, when the provider may still accept it.
    paying = report(world, reference_of(tenant, txid), 700, 1)
    world.later(seconds=2)
    await asyncio.gather(paying, *(world.tick("providers-expire-pix-charges") for _ in range(2)))
    await world.settle_in_any_order(Random(seed), abreast=3)
    assert (await tenant.get(f"/v1/pix/charges/{txid}"))["status"] == "paid"
    assert await balance(world, tenant, account) == 700
    await check_quiet(world, tenant)
