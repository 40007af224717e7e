"""The money of returns: each is made once, never more than was received, and what is refused is back on the account.

On hostile stores commits conflict, are refused, or have an unknown outcome, and the provider's answers are lost.
"""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from shared.records.deposits import DEPOSITS
from shared.records.returns import RETURNS, provider_reference
from tests.invariants.bodies import brl
from tests.invariants.books import check_quiet, everything
from tests.invariants.charges import balance
from tests.invariants.conftest import Make

SEEDS = range(6)


@pytest.mark.parametrize("seed", SEEDS)
async def test_returns_at_once(make: Make, seed: int) -> None:
    """Of concurrent returns of one deposit those that fit are accepted; each is made once or given back, by the
    provider's outcome, while another payment takes from the same account."""
    world, random = await make(seed), Random(seed)
    tenant = await world.tenant()
    account, other = await tenant.account(), await tenant.account()
    deposit = await tenant.fund(account, 1000)
    values = [random.randint(100, 700) for _ in range(4)]
    path = f"/v1/deposits/{deposit}/returns"
    answers = await asyncio.gather(
        *(tenant.call("POST", path, {"amount": brl(value)}) for value in values),
        tenant.call("POST", "/v1/payments", {**_payment(account, other), "amount": brl(random.randint(1, 900))}),
    )
    assert {answer.status for answer in answers} <= {201, 422}
    await world.settle_in_any_order(Random(seed), abreast=3)
    asked = await everything(world, tenant.id, RETURNS)
    world.rail.refused_returns = {provider_reference(one["id"]) for one in asked if random.random() < 0.4}
    for _ in range(3):
        world.later(hours=1)
        await world.tick("operations-sweep-sagas")
        await world.settle_in_any_order(Random(seed), abreast=3)
    ended = await everything(world, tenant.id, RETURNS)
    assert {one["status"] for one in ended} <= {"settled", "failed"}
    settled = [one for one in ended if one["status"] == "settled"]
    assert {one["id"] for one in settled} <= {one["id"] for one in ended if one["confirmed_at"] is not None}
    returned = sum(one["amount"] for one in settled)
    assert await balance(world, tenant, "sys_clearing_pix_brl") == -1000 + returned
    (received,) = await everything(world, tenant.id, DEPOSITS)
    assert (received["amount_returned"], received["amount_returning"]) == (returned, 0)
    await check_quiet(world, tenant)


def _payment(payer: str, payee: str) -> dict[str, object]:
    return {"method": "internal", "payer_account_id": payer, "payee_account_id": payee}


@pytest.mark.parametrize("seed", SEEDS)
async def test_frauds_and_payments_at_once(make: Make, seed: int) -> None:
    """Reports of fraud, returns and payments take from one account concurrently: nothing is taken twice, each report is
    decided once, and after the decisions nothing is held."""
    world, random = await make(seed), Random(seed)
    tenant = await world.tenant()
    account, other = await tenant.account(), await tenant.account()
    deposit = await tenant.fund(account, 1000)
    await asyncio.gather(
        *(world.report_fraud(deposit, random.randint(100, 700), f"f{number % 2}", tenant.id) for number in range(4)),
        tenant.call("POST", f"/v1/deposits/{deposit}/returns", {"amount": brl(random.randint(1, 500))}),
        tenant.call("POST", "/v1/payments", {**_payment(account, other), "amount": brl(random.randint(1, 900))}),
    )
    await world.settle_in_any_order(Random(seed), abreast=3)
    reports = await tenant.listed("/v1/pix/fraud-reports")
    assert len(reports) <= 2
    assert all(report["amount_held"] is not None for report in reports)
    decided = []
    for report in reports:
        decision = random.choice(["accept", "reject"])
        decided.append(tenant.call("POST", f"/v1/pix/fraud-reports/{report['id']}/{decision}", {"reason": "seen"}))
    answers = await asyncio.gather(*decided)
    assert {answer.status for answer in answers} <= {200}
    for _ in range(3):
        await world.settle_in_any_order(Random(seed), abreast=3)
        world.later(hours=1)
        await world.tick("operations-sweep-sagas")
    await world.settle_in_any_order(Random(seed), abreast=3)
    ended = await everything(world, tenant.id, RETURNS)
    assert {one["status"] for one in ended} <= {"settled", "failed"}
    returned = sum(one["amount"] for one in ended if one["status"] == "settled")
    assert await balance(world, tenant, "sys_clearing_pix_brl") == -1000 + returned
    await check_quiet(world, tenant)
