"""The money of PIX charges: each charge is credited once, and everything else that was paid is in the suspense account.

On hostile stores commits conflict, are refused, or have an unknown outcome, and the provider's answers are lost.
Payments are reported while their charge is still being created, several times, concurrently and in any order.
"""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import orjson
import pytest

from shared.adapters.pix import callback_signature
from shared.adapters.pix.formats import format_amount
from shared.core.clock import format_time
from shared.core.ids import derived_id
from shared.http.messages import HttpRequest
from shared.records.deposits import DEPOSITS
from shared.records.pix_charges import PIX_CHARGES
from tests.invariants.books import check_quiet, everything
from tests.invariants.conftest import Make
from tests.invariants.world import _CALLBACK_SECRET, Tenant, World, brl

SEEDS = range(8)
MOST_TURNS = 20_000
"""How many turns of the event loop a report may need: its charge is being created meanwhile."""


def reference_of(tenant: Tenant, txid: str) -> str:
    """Return the id of a charge at the provider."""
    return derived_id("chg", tenant.id, f"{txid}/", "pix charge").partition("_")[2]


async def report(world: World, reference: str, amount: int, number: int) -> None:
    """Report a payment, from the moment at which the provider has the charge, until the report is accepted."""
    paid = {
        "endToEndId": f"E{number:031d}",
        "txid": reference,
        "valor": format_amount(amount),
        "horario": format_time(world.clock.now()),
    }
    body = orjson.dumps({"pix": [paid]})
    headers = callback_signature.sign(_CALLBACK_SECRET, body, world.clock.now())
    headers["content-type"] = "application/json"
    for _ in range(MOST_TURNS):
        await asyncio.sleep(0)
        if reference not in world.rail.charges:
            continue
        answer = await world.request(HttpRequest("POST", "/v1/providers/pix/callbacks", "", dict(headers), body))
        if answer.status == 200:
            return
        assert answer.status == 503, answer.raw
    raise AssertionError(f"the payment {number} is never accepted")


async def balance(world: World, tenant: Tenant, account: str) -> int:
    return await world.runtime.ledger.balance(tenant.id, account)


@pytest.mark.parametrize("seed", SEEDS)
async def test_every_payment_is_in_one_place(make: Make, seed: int) -> None:
    """Of two payments of a charge one is credited; the other one and a wrong amount are suspended; none is lost."""
    world, random = await make(seed), Random(seed)
    tenants = [await world.tenant("acme"), await world.tenant("globex")]
    accounts = [await tenant.account() for tenant in tenants]
    # Both tenants use the same txids.
    txids = [f"Order{number:025d}" for number in range(2)]
    work: list[Any] = []
    numbers = iter(range(1, 1000))
    expected = [[0, 0], [0, 0]]
    for place, tenant in enumerate(tenants):
        for txid in txids:
            amount, wrong = random.randint(100, 999), random.randint(1000, 1999)
            reference = reference_of(tenant, txid)
            command = {"account_id": accounts[place], "amount": brl(amount), "txid": txid}
            work.append(tenant.made("/v1/pix/charges", command, key=f"create-{txid}"))
            payments = [(value, next(numbers)) for value in (amount, amount, wrong)]
            work += [report(world, reference, *paid) for paid in payments * 2]
            expected[place][0] += amount
            expected[place][1] += amount + wrong
    random.shuffle(work)
    await asyncio.gather(*work)
    await world.settle_in_any_order(Random(seed), abreast=3)

    for place, tenant in enumerate(tenants):
        credited, suspended = expected[place]
        assert await balance(world, tenant, accounts[place]) == credited
        assert await balance(world, tenant, "sys_suspense_brl") == suspended
        assert await balance(world, tenant, "sys_clearing_pix_brl") == -credited - suspended
        charges = await everything(world, tenant.id, PIX_CHARGES)
        assert {charge["txid"]: charge["status"] for charge in charges} == dict.fromkeys(txids, "paid")
        deposits = await everything(world, tenant.id, DEPOSITS)
        assert [deposit["status"] for deposit in deposits] == ["settled"] * 3 * len(txids)
        await check_quiet(world, tenant)


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
