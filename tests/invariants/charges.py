"""PIX charges of two tenants that are created and paid at once, and where their money must be afterwards."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any, Final

import orjson

from shared.adapters.pix.formats import format_amount
from shared.adapters.providers import callback_signature
from shared.core.clock import format_time
from shared.core.ids import derived_id
from shared.http.messages import HttpRequest
from shared.records.deposits import DEPOSITS
from shared.records.pix_charges import PIX_CHARGES
from tests.invariants.bodies import brl
from tests.invariants.books import check_quiet, everything
from tests.invariants.pix_provider import CALLBACK_SECRET
from tests.invariants.tenant import Tenant
from tests.invariants.world import World

MOST_TURNS: Final = 20_000
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
    headers = callback_signature.sign(CALLBACK_SECRET, body, world.clock.now())
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


async def pay_charges_at_once(world: World, seed: int) -> None:
    """Create charges, and report two payments of the right amount and one of a wrong one for each, all at once and each
    report twice. Check that one payment is credited, that the others are suspended, and that none is lost."""
    random = Random(seed)
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
