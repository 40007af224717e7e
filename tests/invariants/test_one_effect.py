"""A command has one effect, however often and in whatever order the command and its events arrive."""

from __future__ import annotations

import asyncio
from collections import Counter
from copy import copy
from random import Random
from typing import Any

import orjson
import pytest

from shared.core.envelope import Envelope
from shared.records.accounts import HOLDS
from shared.records.payments import PAYMENTS, REFUNDS
from tests.invariants.bodies import brl, cpf, payment
from tests.invariants.books import check_quiet, everything
from tests.invariants.conftest import Make
from tests.invariants.tenant import Answer, Tenant
from tests.invariants.world import World

SEEDS = range(6)


async def at_once(tenant: Tenant, times: int, path: str, body: object, key: str | None) -> list[Answer]:
    """Send the same request several times concurrently."""
    return await asyncio.gather(*(tenant.call("POST", path, body, key=key) for _ in range(times)))


async def persistent(tenant: Tenant, path: str, body: object, key: str) -> Answer:
    """Repeat a request while another one with its key is in progress."""
    while True:
        answer = await tenant.call("POST", path, body, key=key)
        if answer.code != "request_in_progress":
            return answer
        await asyncio.sleep(0)


@pytest.mark.parametrize("seed", SEEDS)
async def test_twenty_requests_of_one_key_make_one_payment(seed: int) -> None:
    """Of 20 concurrent requests with one key, one creates the payment; the others get 409 or its response."""
    world = await World.in_memory(seed, interleaved=True)
    tenant = await world.tenant()
    payer, payee = await tenant.account(1000), await tenant.account()
    answers = await at_once(tenant, 20, "/v1/payments", payment(payer, payee, 100), "order-1")

    assert {answer.status for answer in answers} <= {201, 409}
    assert {answer.code for answer in answers if answer.status == 409} <= {"request_in_progress"}
    assert len({answer.raw for answer in answers if answer.status == 201}) == 1
    assert sum(answer.status == 201 and "idempotent-replayed" not in answer.headers for answer in answers) == 1
    await world.settle()
    assert len(await everything(world, tenant.id, PAYMENTS)) == 1
    await check_quiet(world, tenant)


@pytest.mark.parametrize("seed", SEEDS)
async def test_twenty_requests_of_one_key_without_the_lock(make: Make, seed: int) -> None:
    """When the cache loses its locks all the time, 20 requests with one key still get one response, byte for byte."""
    world = await make(seed)
    tenant = await world.tenant()
    payer, payee = await tenant.account(1000), await tenant.account()
    body, done = payment(payer, payee, 100), asyncio.Event()

    async def forget() -> None:
        while not done.is_set():
            await world.forget()
            await asyncio.sleep(0)

    forgetting = asyncio.create_task(forget())
    answers = await asyncio.gather(*(persistent(tenant, "/v1/payments", body, "order-1") for _ in range(20)))
    done.set()
    await forgetting

    assert {answer.status for answer in answers} == {201}
    assert len({answer.raw for answer in answers}) == 1
    assert sum("idempotent-replayed" not in answer.headers for answer in answers) == 1
    assert len(await everything(world, tenant.id, PAYMENTS)) == 1


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("command", ["register", "capture", "cancel", "refund"])
async def test_a_command_is_not_refused_for_its_own_effect(make: Make, command: str, seed: int) -> None:
    """Of eight concurrent requests with one key, whose locks are lost, none is refused because of another's effect:
    the registered user, the changed status, the refunded amount."""
    world = await make(seed)
    tenant = await world.tenant()
    payer, payee = await tenant.account(1000), await tenant.account()
    capture = "automatic" if command == "refund" else "manual"
    path = f"/v1/payments/{await tenant.pay(payer, payee, 500, capture=capture)}/{command}"
    await world.settle()
    body: dict[str, Any] = {}
    if command == "register":
        document = {"type": "cpf", "number": cpf(500)}
        path, body = "/v1/users", {"kind": "customer", "name": "Ana", "document": document, "email": "ana@example.com"}
    elif command == "refund":
        path += "s"
    done = asyncio.Event()

    async def forget() -> None:
        while not done.is_set():
            await world.forget()
            await asyncio.sleep(0)

    forgetting = asyncio.create_task(forget())
    answers = await asyncio.gather(*(persistent(tenant, path, body, "once") for _ in range(8)))
    done.set()
    await forgetting

    assert {answer.code for answer in answers} == {None}
    assert len({answer.raw for answer in answers}) == 1
    await world.settle()
    await check_quiet(world, tenant, open_ones=True)


@pytest.mark.parametrize("seed", SEEDS)
async def test_replayed_bytes_have_no_second_effect_in_any_process(seed: int) -> None:
    """A signed request that is replayed ten times concurrently to processes without common nonces and locks has one
    effect; each replay is refused, gets 409 or gets the first response."""
    world = await World.hostile(seed, processes=3)
    tenant = await world.tenant()
    payer, payee = await tenant.account(1000), await tenant.account()
    body = orjson.dumps(payment(payer, payee, 100))
    headers = {"authorization": f"Bearer {tenant.id}", "content-type": "application/json", "idempotency-key": "once"}
    signed = tenant.signed("POST", "/v1/payments", "", headers, body)
    answers = await asyncio.gather(*(world.request(copy(signed)) for _ in range(10)))
    await world.settle()

    assert {answer.status for answer in answers} <= {201, 401, 409, 503}
    assert {answer.code for answer in answers if answer.status == 401} <= {"signature_replayed"}
    assert len({answer.raw for answer in answers if answer.status == 201}) <= 1
    assert len(await everything(world, tenant.id, PAYMENTS)) <= 1
    again = await tenant.call("POST", "/v1/payments", payment(payer, payee, 100), key="once")
    assert {answer.raw for answer in answers if answer.status == 201} <= {again.raw}
    await world.settle()
    assert len(await everything(world, tenant.id, PAYMENTS)) == 1
    await check_quiet(world, tenant)


async def the_whole_path(world: World, tenant: Tenant, random: Random, *, abreast: int) -> None:
    """Run deposits, payments of both kinds, a partial capture, a cancellation and refunds, with all events repeated
    and out of order."""
    payer, payee = await tenant.account(), await tenant.account()
    await tenant.deposit(payer, 10_000)
    await world.settle_in_any_order(random, abreast=abreast)
    await world.pay_charges(times=2)
    await world.settle_in_any_order(random, abreast=abreast)
    automatic = await tenant.pay(payer, payee, 3_000)
    manual = await tenant.pay(payer, payee, 2_000, capture="manual")
    canceled = await tenant.pay(payer, payee, 1_000, capture="manual")
    await tenant.pay(payer, payee, 50_000)
    await world.settle_in_any_order(random, abreast=abreast)
    await tenant.made(f"/v1/payments/{manual}/capture", {"amount": brl(1_500)})
    await tenant.made(f"/v1/payments/{canceled}/cancel")
    await world.settle_in_any_order(random, abreast=abreast)
    await tenant.made(f"/v1/payments/{automatic}/refunds", {"amount": brl(1_000)})
    await tenant.made(f"/v1/payments/{automatic}/refunds", {"amount": brl(500)})
    await tenant.made(f"/v1/payments/{manual}/refunds")
    await world.settle_in_any_order(random, abreast=abreast)
    balances = [(await tenant.get(f"/v1/accounts/{id}/balance"))["posted"] for id in (payer, payee)]
    assert balances == [8_500, 1_500]


@pytest.mark.parametrize("abreast", [1, 5])
@pytest.mark.parametrize("seed", SEEDS)
async def test_every_event_twice_and_out_of_order(make: Make, seed: int, abreast: int) -> None:
    """When every event of the path is delivered twice, in any order, and the cache is cleared in between, each
    transfer is recorded once."""
    world = await make(seed)
    tenant = await world.tenant()
    await the_whole_path(world, tenant, Random(seed), abreast=abreast)

    await check_quiet(world, tenant)
    payments = await everything(world, tenant.id, PAYMENTS)
    assert Counter(p["status"] for p in payments) == {"settled": 2, "canceled": 1, "declined": 1}
    assert Counter(r["status"] for r in await everything(world, tenant.id, REFUNDS)) == {"settled": 3}


@pytest.mark.parametrize("seed", SEEDS)
async def test_facts_are_published_once(make: Make, seed: int) -> None:
    """However often its cause is delivered, a fact is in the timeline once and has one event id."""
    world = await make(seed)
    tenant = await world.tenant()
    await the_whole_path(world, tenant, Random(seed), abreast=1)

    for known in await everything(world, tenant.id, PAYMENTS):
        entries = await tenant.listed(f"/v1/payments/{known['id']}/events")
        published = Counter((entry["type"], entry["data"].get("refund_id")) for entry in entries)
        assert set(published.values()) == {1}
    committed: list[Envelope] = world.runtime.documents.events  # type: ignore[attr-defined]  # they are in memory
    ids = Counter((event.source, event.id) for event in committed)
    assert set(ids.values()) == {1}


@pytest.mark.parametrize("seed", SEEDS)
async def test_of_five_captures_one_is_accepted(make: Make, seed: int) -> None:
    """Of five concurrent captures of one authorization with different amounts, one is accepted and four are refused."""
    world = await make(seed)
    tenant = await world.tenant()
    payer, payee = await tenant.account(1000), await tenant.account()
    payment_id = await tenant.pay(payer, payee, 500, capture="manual")
    await world.settle()
    path = f"/v1/payments/{payment_id}/capture"
    answers = await asyncio.gather(*(tenant.call("POST", path, {"amount": brl(100 + n)}) for n in range(5)))
    await world.settle_in_any_order(Random(seed))

    assert sorted(answer.status for answer in answers) == [200, 409, 409, 409, 409]
    assert {answer.code for answer in answers if answer.status == 409} == {"illegal_state"}
    taken = next(number for number, answer in enumerate(answers) if answer.status == 200)
    assert (await tenant.get(f"/v1/accounts/{payee}/balance"))["posted"] == 100 + taken
    await check_quiet(world, tenant)


@pytest.mark.parametrize("seed", range(12))
async def test_of_capture_cancel_and_expiry_one_happens(make: Make, seed: int) -> None:
    """Of a concurrent capture, cancellation and expiry of one authorization, exactly one happens."""
    world = await make(seed)
    tenant, random = await world.tenant(), Random(seed)
    payer, payee = await tenant.account(1000), await tenant.account()
    payment_id = await tenant.pay(payer, payee, 500, capture="manual", expires_in=60)
    await world.settle()
    # The sweep finds the hold at the last instant at which it may be captured.
    world.later(seconds=60 if random.random() < 0.5 else 59)
    if random.random() < 0.5:
        await world.tick("operations-expire-holds")
    calls = [
        tenant.call("POST", f"/v1/payments/{payment_id}/capture"),
        tenant.call("POST", f"/v1/payments/{payment_id}/cancel"),
    ]
    random.shuffle(calls)
    batch, world.pool.pending = world.pool.pending, []
    answers = await asyncio.gather(*calls, *(world.deliver(pending) for pending in batch))
    await world.settle_in_any_order(random, abreast=3)
    world.later(seconds=120)
    await world.tick("operations-expire-holds")
    await world.settle_in_any_order(random, abreast=3)

    taken = [answer for answer in answers if answer is not None and answer.status == 200]
    status = await tenant.status(payment_id)
    assert len(taken) <= 1
    assert status == ("expired" if not taken else "canceled" if "cancel" in str(taken[0].body["status"]) else "settled")
    moved = 500 if status == "settled" else 0
    assert (await tenant.get(f"/v1/accounts/{payee}/balance"))["posted"] == moved
    await check_quiet(world, tenant)


@pytest.mark.parametrize("seed", SEEDS)
async def test_refunds_at_once_never_exceed_what_was_captured(make: Make, seed: int) -> None:
    """Of ten concurrent refunds of 1.00 of a payment of 5.50, five are accepted and five exceed the rest."""
    world = await make(seed)
    tenant = await world.tenant()
    payer, payee = await tenant.account(550), await tenant.account(1000)
    payment_id = await tenant.pay(payer, payee, 550)
    await world.settle()
    path = f"/v1/payments/{payment_id}/refunds"
    answers = await asyncio.gather(
        *(persistent(tenant, path, {"amount": brl(100)}, f"refund-{number}") for number in range(10))
    )
    # Some may have met too many version conflicts; they are sent again.
    answers = [
        await persistent(tenant, path, {"amount": brl(100)}, f"refund-{number}") if answer.status == 503 else answer
        for number, answer in enumerate(answers)
    ]
    await world.settle_in_any_order(Random(seed), abreast=4)

    assert Counter(answer.code for answer in answers) == {None: 5, "amount_exceeds_refundable": 5}
    assert (await tenant.get(f"/v1/payments/{payment_id}"))["amount_refunded"] == brl(500)
    await check_quiet(world, tenant)


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_charge_is_credited_once(make: Make, seed: int) -> None:
    """A provider's report that arrives five times concurrently, and once more under another id, credits the deposit
    once."""
    world = await make(seed)
    tenant = await world.tenant()
    account = await tenant.account()
    await tenant.deposit(account, 700)
    await world.settle()
    (reference,) = world.rail.charges
    await asyncio.gather(*(world.report(reference, 700) for _ in range(5)))
    await world.report(reference, 700, end_to_end_id="E" + "9" * 31)
    await world.settle_in_any_order(Random(seed), abreast=3)

    assert (await tenant.get(f"/v1/accounts/{account}/balance"))["posted"] == 700
    await check_quiet(world, tenant)


async def test_the_sweep_finds_deadlines_that_the_cache_has_lost() -> None:
    """A payment whose first event and cached deadline were lost is found in the documents, and settles once."""
    world = await World.in_memory()
    tenant = await world.tenant()
    payer, payee = await tenant.account(1000), await tenant.account()
    payment_id = await tenant.pay(payer, payee, 400)
    lost, world.pool.pending = world.pool.pending, []
    await world.forget()
    world.later(seconds=31)
    await world.tick("operations-sweep-sagas")
    await world.settle()
    assert await tenant.status(payment_id) == "settled"
    for pending in lost:
        await world.deliver(pending)
    await world.settle()

    assert [hold["status"] for hold in await everything(world, tenant.id, HOLDS)] == ["captured"]
    await check_quiet(world, tenant)
