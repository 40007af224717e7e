"""Every command that is sent twice under one key has one effect and one answer; of two commands that exclude each
other, one has an effect."""

from __future__ import annotations

import asyncio
import inspect
from random import Random
from typing import Any, Final

import orjson
import pytest

from embedded.broker.delivery import Outcome, dead_letter
from events.dead_letters import DeadLetterReplayed
from events.reconciliations import MovementsMatched
from functions.operations import _replay_batch
from shared.http.messages import HttpResponse
from shared.ports.documents import Collection, Commit
from shared.records.payments import PAYMENTS
from shared.records.reconciliations import MATCHED_MOVEMENTS, RECONCILIATIONS
from shared.records.returns import RETURNS
from shared.records.webhooks import WEBHOOK_ENDPOINTS
from tests.cnab import content
from tests.hostile import SeededDie
from tests.invariants.bodies import brl, cpf, over_rail, payment
from tests.invariants.books import check_books, check_quiet, everything
from tests.invariants.deliveries import Pending
from tests.invariants.isolation import DAY, TENANT_OPERATIONS, Stage, dead_letter_sink, every_row, stage
from tests.invariants.tenant import Answer, Tenant
from tests.invariants.world import World

POSTS: Final = frozenset(name for name, operation in TENANT_OPERATIONS.items() if operation.method == "POST")
SEEDS = range(4)
Command = tuple[str, str, Any]
"""An operation, its path and its body."""


async def commands(made: Stage) -> list[Command]:
    """Return a command of every POST operation, each legal after those before it."""
    tenant, ids = made.victim, made.ids
    owner, gone, review = await tenant.user(), await tenant.user(), await in_review(made.world, tenant)
    account, other = await tenant.account(1000, owner=owner), await tenant.account()
    authorized = [await tenant.pay(account, other, 100, capture="manual") for _ in range(2)]
    settled = await tenant.pay(account, other, 300)
    await made.world.settle()
    await changed(made, WEBHOOK_ENDPOINTS, ids["endpoint_id"], status="disabled")
    reports = [report["id"] for report in await tenant.listed("/v1/pix/fraud-reports")]
    letters = [letter["id"] for letter in await tenant.listed("/v1/dead-letters")]
    webhook = {"url": "https://hooks.example.com/", "events": ["*"]}
    user = {
        "kind": "customer",
        "name": "Bia",
        "document": {"type": "cpf", "number": cpf(900)},
        "email": "bia@example.com",
    }
    deliveries = f"/v1/webhook-endpoints/{ids['endpoint_id']}/deliveries/{ids['delivery_id']}"
    return [
        ("users/register_user", "/v1/users", user),
        ("users/suspend_user", f"/v1/users/{owner}/suspend", {}),
        ("users/activate_user", f"/v1/users/{owner}/activate", {}),
        ("users/close_user", f"/v1/users/{gone}/close", {}),
        ("users/erase_user", f"/v1/users/{gone}/erase", {}),
        ("accounts/open_account", "/v1/accounts", {"owner_id": owner, "currency": "BRL"}),
        ("accounts/block_account", f"/v1/accounts/{account}/block", {"mode": "debits"}),
        ("accounts/unblock_account", f"/v1/accounts/{account}/unblock", {}),
        ("accounts/close_account", f"/v1/accounts/{await tenant.account()}/close", {}),
        ("payments/create_payment", "/v1/payments", payment(account, other, 10)),
        ("payments/create_payment", "/v1/payments", over_rail("pix", account, 10)),
        ("payments/capture", f"/v1/payments/{authorized[0]}/capture", {"amount": brl(50)}),
        ("payments/cancel", f"/v1/payments/{authorized[1]}/cancel", {}),
        ("payments/create_refund", f"/v1/payments/{settled}/refunds", {"amount": brl(10)}),
        ("payments/resolve_review", f"/v1/payments/{review}/resolve", {"outcome": "settled", "reason": "seen"}),
        ("providers/create_deposit", "/v1/deposits", {"account_id": account, "amount": brl(10), "method": "pix"}),
        ("providers/create_return", f"/v1/deposits/{ids['deposit_id']}/returns", {"amount": brl(1)}),
        ("providers/create_pix_charge", "/v1/pix/charges", {"account_id": account, "amount": brl(10)}),
        ("providers/create_pix_static_code", "/v1/pix/static-codes", {"account_id": account}),
        ("providers/remove_pix_charge", f"/v1/pix/charges/{ids['txid']}/remove", {}),
        ("providers/accept_fraud_report", f"/v1/pix/fraud-reports/{reports[0]}/accept", {}),
        ("providers/reject_fraud_report", f"/v1/pix/fraud-reports/{reports[1]}/reject", {"reason": "no fraud"}),
        ("providers/create_reconciliation", "/v1/reconciliations", DAY),
        (
            "providers/match_movements",
            f"/v1/reconciliations/{ids['reconciliation_id']}/match",
            await open_movements(made),
        ),
        ("providers/import_settlement_file", "/v1/settlement-files", {"content": content(sequence=9)}),
        ("operations/replay_dead_letter", f"/v1/dead-letters/{letters[0]}/replay", None),
        ("operations/discard_dead_letter", f"/v1/dead-letters/{letters[1]}/discard", {"reason": "not wanted"}),
        ("operations/replay_dead_letters", "/v1/dead-letters/replay", {}),
        ("webhooks/create_webhook_endpoint", "/v1/webhook-endpoints", webhook),
        ("webhooks/enable_webhook_endpoint", f"/v1/webhook-endpoints/{ids['endpoint_id']}/enable", None),
        ("webhooks/resend_webhook_delivery", f"{deliveries}/resend", None),
        ("webhooks/rotate_webhook_secret", f"/v1/webhook-endpoints/{ids['endpoint_id']}/rotate-secret", {}),
    ]


async def in_review(world: World, tenant: Tenant) -> str:
    """Return a payment of which the provider has moved another amount than was ordered."""
    account = await tenant.account(1000)
    order = {"fault": "wrong_amount", "payments": "sent"}
    assert (await world.providers.order("pix", "/faults", order))[0] == 202
    payment_id = str((await tenant.made("/v1/payments", over_rail("pix", account, 100)))["id"])
    await world.settle()
    await world.pay_charges()
    await world.settle()
    assert await tenant.status(payment_id) == "review"
    return payment_id


async def changed(made: Stage, collection: Collection[Any, ...], id: str, **fields: Any) -> None:
    """Change fields of a stored document directly."""
    document = await made.world.runtime.documents.get(collection, made.victim.id, id)
    assert document is not None
    commit = Commit(made.victim.id)
    commit.replaces.append((collection, {**document, **fields}))
    await made.world.runtime.documents.commit(commit)


async def open_movements(made: Stage) -> Any:
    """Leave two movements of the reconciliation open, and return the command that matches them."""
    items: list[dict[str, Any]] = [
        {
            "status": "unmatched_ledger",
            "rule": None,
            "ledger": {"id": f"ltr_{number}.0", "amount": amount, "at": "2026-01-01T00:00:00Z", "reference": None},
            "provider": None,
            "candidates": [],
            "manual": None,
        }
        for number, amount in enumerate((5, -5))
    ]
    await changed(made, RECONCILIATIONS, made.ids["reconciliation_id"], items=items)
    return {"ledger": ["ltr_0.0", "ltr_1.0"], "provider": [], "reason": "the same money"}


def test_a_command_of_every_operation_is_repeated() -> None:
    """The commands below are those of every POST of a tenant, so that a new operation is repeated, too."""
    source = inspect.getsource(commands)
    assert {name for name in POSTS if f'"{name}"' not in source} == set()


async def test_a_repeated_command_has_the_first_answer_and_one_effect() -> None:
    """Every POST that is sent again under its key gets the first answer, byte for byte, and changes no document."""
    made = await stage(World.with_rails)
    for number, (name, path, body) in enumerate(await commands(made)):
        first = await made.victim.call("POST", path, body, key=f"once-{number}")
        assert first.status in (200, 201), (name, first.body)
        stored, events = await every_row(made), len(made.world.pool.published)
        again = await made.victim.call("POST", path, body, key=f"once-{number}")
        assert (again.status, again.raw) == (first.status, first.raw), name
        assert again.headers["idempotent-replayed"] == "true", name
        assert await every_row(made) == stored, name
        assert len(made.world.pool.published) == events, name


async def test_a_key_is_refused_for_another_body() -> None:
    """Every POST with a body of its own refuses the same key with another body, and changes nothing."""
    made = await stage(World.with_rails)
    for number, (name, path, body) in enumerate(await commands(made)):
        if not body:
            continue
        first = await made.victim.call("POST", path, body, key=f"once-{number}")
        assert first.status in (200, 201), (name, first.body)
        stored = await every_row(made)
        other = await made.victim.call("POST", path, {**body, "note": "another"}, key=f"once-{number}")
        assert (other.status, other.code) == (422, "idempotency_key_reused"), (name, other.body)
        assert await every_row(made) == stored, name


async def _world(seed: int, *, is_hostile: bool) -> World:
    return await World.with_rails(seed, die=SeededDie(seed) if is_hostile else None)


async def at_once(tenant: Tenant, *asked: tuple[str, Any]) -> list[Answer]:
    """Send commands concurrently, each under a key of its own, and return their answers."""
    return await asyncio.gather(*(tenant.call("POST", path, body) for path, body in asked))


@pytest.mark.parametrize("is_hostile", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
async def test_of_four_decisions_on_a_review_one_is_made(seed: int, *, is_hostile: bool) -> None:
    """Of four concurrent decisions on the review of a payment, two for each outcome, one is accepted; the account pays
    once, or nothing."""
    world = await _world(seed, is_hostile=is_hostile)
    tenant = await world.tenant()
    review = await in_review(world, tenant)
    path = f"/v1/payments/{review}/resolve"
    bodies = [{"outcome": outcome, "reason": "seen"} for outcome in ("settled", "failed") * 2]
    Random(seed).shuffle(bodies)
    answers = await at_once(tenant, *((path, body) for body in bodies))
    await world.settle_in_any_order(Random(seed), abreast=3)

    assert sorted(answer.status for answer in answers) == [200, 409, 409, 409]
    assert {answer.code for answer in answers if answer.status == 409} == {"illegal_state"}
    chosen = next(body["outcome"] for body, answer in zip(bodies, answers, strict=True) if answer.status == 200)
    (found,) = await everything(world, tenant.id, PAYMENTS)
    assert found["status"] == chosen
    assert found["amount_captured"] == (100 if chosen == "settled" else 0)
    await check_quiet(world, tenant)


@pytest.mark.parametrize("is_hostile", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
async def test_of_four_decisions_on_a_report_of_fraud_one_is_made(seed: int, *, is_hostile: bool) -> None:
    """Of four concurrent decisions on a report of fraud, two to accept and two to reject it, one is made; the provider
    is told that one, and returns the money once or not at all."""
    world = await _world(seed, is_hostile=is_hostile)
    tenant = await world.tenant()
    account = await tenant.account()
    await tenant.fund(account, 1000)
    (payment_id,) = world.providers.pix._state.payments
    assert (await world.providers.order("pix", "/frauds", {"endToEndId": payment_id, "valor": "3.00"}))[0] == 202
    await world.pay_charges()
    await world.settle()
    (report,) = await tenant.listed("/v1/pix/fraud-reports")
    actions = ["accept", "reject"] * 2
    Random(seed).shuffle(actions)
    path = f"/v1/pix/fraud-reports/{report['id']}"
    answers = await at_once(tenant, *((f"{path}/{action}", {"reason": "seen"}) for action in actions))
    for _ in range(3):
        await world.settle_in_any_order(Random(seed), abreast=3)
        await world.pay_charges()
        world.later(hours=1)
        await world.tick("operations-sweep-sagas")
    await world.settle()

    assert sorted(answer.status for answer in answers) == [200, 409, 409, 409]
    chosen = next(action for action, answer in zip(actions, answers, strict=True) if answer.status == 200)
    (returned,) = await everything(world, tenant.id, RETURNS)
    assert returned["status"] == ("settled" if chosen == "accept" else "failed")
    received, sent = world.providers.moved("pix")
    assert (received, sent) == (1000, 300 if chosen == "accept" else 0)
    assert await world.runtime.ledger.balance(tenant.id, account) == received - sent
    await check_quiet(world, tenant)


@pytest.mark.parametrize("is_hostile", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
async def test_of_four_manual_matches_one_is_made(seed: int, *, is_hostile: bool) -> None:
    """Of four concurrent manual matches of the same movements, one is made and published, and the others are
    refused."""
    made = await _stage(seed, is_hostile=is_hostile)
    body = await open_movements(made)
    path = f"/v1/reconciliations/{made.ids['reconciliation_id']}/match"
    answers = await at_once(made.victim, *([(path, body)] * 4))
    await made.world.settle()

    assert sorted(answer.status for answer in answers) == [200, 409, 409, 409]
    assert {answer.code for answer in answers if answer.status == 409} == {"illegal_state"}
    matched = await everything(made.world, made.victim.id, MATCHED_MOVEMENTS)
    assert len(matched) == 2
    (match_id,) = {one["match"]["id"] for one in matched}
    facts = {event.id: event for event in made.world.pool.published if event.type == MovementsMatched.type}
    assert [orjson.loads(fact.data)["match_id"] for fact in facts.values()] == [match_id]


@pytest.mark.parametrize("is_hostile", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
async def test_of_four_matches_with_a_common_movement_one_is_made(seed: int, *, is_hostile: bool) -> None:
    """Of four concurrent manual matches that all name one movement, in two reconciliations of the same day, one is
    made; what the others alone have named stays open."""
    made = await _stage(seed, is_hostile=is_hostile)
    await open_movements(made)
    other = str((await made.victim.made("/v1/reconciliations", DAY))["id"])
    (first,) = [
        one
        for one in await everything(made.world, made.victim.id, RECONCILIATIONS)
        if one["id"] == made.ids["reconciliation_id"]
    ]
    items = [*first["items"], {**first["items"][0], "ledger": {**first["items"][0]["ledger"], "id": "ltr_2.0"}}]
    for id in (first["id"], other):
        await changed(made, RECONCILIATIONS, id, items=items)
    asked = [
        (f"/v1/reconciliations/{id}/match", {"ledger": [one, "ltr_1.0"], "provider": [], "reason": "the same money"})
        for id in (first["id"], other)
        for one in ("ltr_0.0", "ltr_2.0")
    ]
    Random(seed).shuffle(asked)
    answers = await at_once(made.victim, *asked)

    assert sorted(answer.status for answer in answers) == [200, 409, 409, 409]
    chosen = next(body["ledger"] for (_, body), answer in zip(asked, answers, strict=True) if answer.status == 200)
    matched = await everything(made.world, made.victim.id, MATCHED_MOVEMENTS)
    assert sorted(one["id"].rpartition("/")[2] for one in matched) == sorted(chosen)


async def _stage(seed: int, *, is_hostile: bool) -> Stage:
    """Return two tenants with one of each resource. The hostile stores fail from then on."""
    die = _calm_die(seed)
    made = await stage(lambda _: World.with_rails(seed, die=die if is_hostile else None))
    die.calm = False
    return made


def _calm_die(seed: int) -> SeededDie:
    die = SeededDie(seed)
    die.calm = True
    return die


LETTERS: Final = 8
DISCARDED: Final = 4
"""Which of the dead letters that fit the filter is discarded: one of a later page."""
FILTER: Final = {"consumer": "accounts-hold-funds"}


@pytest.mark.parametrize("is_hostile", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
async def test_two_replays_by_filter_and_a_discard_at_once(
    seed: int, monkeypatch: pytest.MonkeyPatch, *, is_hostile: bool
) -> None:
    """Of two concurrent replays by one filter and one discard, each dead letter that fits is in one answer only: its
    event is delivered, or it is discarded; none is lost, none has a second effect, and the others stay parked."""
    monkeypatch.setattr(_replay_batch, "PAGE", 3)
    die = _calm_die(seed)
    world = await World.with_rails(seed, die=die if is_hostile else None)
    tenant = await world.tenant()
    payer, payee = await tenant.account(1000), await tenant.account()
    payment_of = await _parked_payments(world, tenant, payer, payee)
    die.calm = False
    letters = list(payment_of)
    others = {one["id"] for one in await tenant.listed("/v1/dead-letters")} - set(letters)
    discard = f"/v1/dead-letters/{letters[DISCARDED]}/discard"
    first, second, discarded = await asyncio.gather(
        _replayed(tenant), _replayed(tenant), tenant.call("POST", discard, {"reason": "not wanted"})
    )
    await world.settle_in_any_order(Random(seed), abreast=3)

    replayed = [id for page in (*first, *second) for id in page["replayed"]]
    assert discarded.status in (200, 409), discarded.body
    gone = [letters[DISCARDED]] if discarded.status == 200 else []
    assert sorted([*replayed, *gone]) == sorted(letters)
    for pages in (first, second):
        assert all(page["examined"] == 3 for page in pages[:-1]), "a page that is not full is the last one"
        assert all(len(page["replayed"]) <= page["examined"] for page in pages)
        assert sum(page["examined"] for page in pages) >= len(others)
    die.calm = True
    found = {letter["id"]: letter["status"] for letter in await tenant.listed("/v1/dead-letters")}
    assert found == {
        **dict.fromkeys(others, "parked"),
        **dict.fromkeys(replayed, "replayed"),
        **dict.fromkeys(gone, "discarded"),
    }
    facts = {event.id: event.data for event in world.pool.published if event.type == DeadLetterReplayed.type}
    assert sorted(orjson.loads(data)["dead_letter_id"] for data in facts.values()) == sorted(replayed)
    for id, payment_id in payment_of.items():
        assert await tenant.status(payment_id) == ("created" if id in gone else "settled")
    assert (await tenant.get(f"/v1/accounts/{payee}/balance"))["posted"] == 10 * len(replayed)
    for id in gone:
        await tenant.made(f"/v1/payments/{payment_of[id]}/cancel", {})
    await world.settle()
    await check_books(world, tenant)


async def _parked_payments(world: World, tenant: Tenant, payer: str, payee: str) -> dict[str, str]:
    """Make payments whose first events no consumer has taken, and return them by the dead letters that fit the filter,
    oldest first."""
    letters: dict[str, str] = {}
    await world.settle()
    for _ in range(LETTERS):
        world.later(seconds=1)
        payment_id = await tenant.pay(payer, payee, 10)
        await world.publish_outbox()
        lost, world.pool.pending = world.pool.pending, []
        for pending in lost:
            answer = HttpResponse(500, {}, b"")
            letter = dead_letter(pending.envelope, pending.subscription.target.url, Outcome.DEAD, answer)
            await world.deliver(Pending(pending.subscription, letter, dead_letter_sink()))
        await world.settle()
        fitting = [one for one in await tenant.listed("/v1/dead-letters") if one["consumer"] == FILTER["consumer"]]
        (new,) = {one["id"] for one in fitting} - set(letters)
        letters[new] = payment_id
    world.later(seconds=1)
    return letters


async def _replayed(tenant: Tenant) -> list[Any]:
    """Replay the dead letters that fit the filter, and return the answers, one for each page."""
    pages = [await tenant.made("/v1/dead-letters/replay", FILTER)]
    while (cursor := pages[-1]["next_cursor"]) is not None:
        pages.append(await tenant.made("/v1/dead-letters/replay", {**FILTER, "cursor": cursor}))
    return pages
