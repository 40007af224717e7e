"""No document of another tenant is read, written or listed, and no response shows that it exists."""

from __future__ import annotations

import orjson
import pytest

from shared.core.envelope import DEAD_LETTER_ID, Envelope
from shared.http.messages import HttpRequest
from shared.http.pipeline import serve
from shared.ports.documents import PLATFORM
from shared.records.dead_letters import DEAD_LETTERS
from shared.records.system_accounts import SYSTEM_ACCOUNTS
from tests.cnab import content
from tests.functions.providers.bank import line
from tests.invariants.bodies import brl, over_rail, payment
from tests.invariants.books import check_quiet, everything
from tests.invariants.conftest import Make
from tests.invariants.deliveries import deliveries_of
from tests.invariants.isolation import (
    BODIES,
    BY_ID,
    DAY,
    LISTS,
    NO_IDS,
    OTHER_REFERENCES,
    TENANT_OPERATIONS,
    UNKNOWN,
    Stage,
    bodies_with,
    endpoint,
    every_row,
    path_of,
    stage,
    texts_of,
    without_ids,
)
from tests.invariants.world import World


@pytest.mark.parametrize("name", BY_ID)
async def test_another_tenants_id_is_answered_as_unknown(make: Make, name: str) -> None:
    """An operation answers another tenant's id as an unknown one: 404, equal in every byte and header."""
    made, operation = await stage(make), TENANT_OPERATIONS[name]
    body = None if operation.method == "GET" else BODIES.get(name, {})
    stored = await every_row(made)
    taken = await made.attacker.call(operation.method, path_of(operation, made.ids), body)
    nothing = await made.attacker.call(operation.method, path_of(operation, UNKNOWN), body)

    assert (taken.status, taken.code) == (404, "not_found")
    assert without_ids(taken) == without_ids(nothing)
    assert set(taken.headers) == set(nothing.headers)
    assert await every_row(made) == stored
    # The ids exist: their owner does not get 404.
    own = await made.victim.call(operation.method, path_of(operation, made.ids), body)
    assert own.status != 404


def test_every_operation_with_an_id_is_attacked() -> None:
    """The ids above fill the path of every operation, so that a new operation is tested too."""
    assert {parameter for name in BY_ID for parameter in TENANT_OPERATIONS[name].path_parameters} <= set(UNKNOWN)
    assert len(BY_ID) >= 17


async def test_system_accounts_of_two_tenants_are_separate(make: Make) -> None:
    """Two tenants have clearing accounts with the same id, and each sees only its own entries."""
    made = await stage(make)
    clearing = "sys_clearing_pix_brl"
    assert [e["amount"]["value"] for e in await made.victim.listed(f"/v1/ledger/accounts/{clearing}/entries")] == [1000]
    assert await made.attacker.listed(f"/v1/ledger/accounts/{clearing}/entries") == []
    assert (await made.attacker.get("/v1/ledger/trial-balance"))["data"] == []
    assert await everything(made.world, made.attacker.id, SYSTEM_ACCOUNTS) != []


@pytest.mark.parametrize("number", range(len(bodies_with("", "", ""))))
async def test_another_tenants_id_in_a_body_is_answered_as_unknown(make: Make, number: int) -> None:
    """A command with another tenant's user or account is refused as one with an unknown id."""
    made = await stage(make)
    path, body, pointer = bodies_with(made.ids["account_id"], made.ids["user_id"], made.own_account)[number]
    taken = await made.attacker.call("POST", path, body)
    path, body, _ = bodies_with(UNKNOWN["account_id"], UNKNOWN["user_id"], made.own_account)[number]
    nothing = await made.attacker.call("POST", path, body)

    assert (taken.status, taken.code) == (422, "unknown_reference")
    assert [error["pointer"] for error in taken.body["errors"]] == [pointer]
    assert without_ids(taken) == without_ids(nothing)


def test_every_reference_in_a_body_is_attacked() -> None:
    """Every field of a command that is a text is an id that is attacked here, or is known to be no id: a new field is
    tested or named, too."""
    attacked = {(path, pointer) for path, _, pointer in bodies_with("", "", "")} | OTHER_REFERENCES
    found = {
        (operation.path, pointer)
        for operation in TENANT_OPERATIONS.values()
        if operation.command is not None
        for pointer in texts_of(operation.command)
        if not any(pointer.endswith(f"/{end}") for end in NO_IDS)
    }
    assert found == attacked


async def test_movements_of_another_tenant_cannot_be_matched(make: Make) -> None:
    """A movement of another tenant's reconciliation is refused in a manual match as an unknown one."""
    made = await stage(make)
    own = (await made.attacker.made("/v1/reconciliations", DAY))["id"]
    theirs = await made.victim.get(f"/v1/reconciliations/{made.ids['reconciliation_id']}")
    movement = next(item["ledger"]["id"] for item in theirs["items"] if item["ledger"] is not None)
    for side, other in (("ledger", "provider"), ("provider", "ledger")):
        body = {side: [movement], other: [], "reason": "the same money"}
        taken = await made.attacker.call("POST", f"/v1/reconciliations/{own}/match", body)
        unknown = f"ltr_{'f' * 32}.0"
        nothing = await made.attacker.call("POST", f"/v1/reconciliations/{own}/match", {**body, side: [unknown]})
        assert (taken.status, taken.code) == (422, "unknown_reference")
        assert without_ids(taken) == without_ids(nothing)


async def test_the_cursor_of_another_tenants_replay_is_refused(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cursor of a replay of dead letters is valid for its tenant only, and replays nothing for another one."""
    monkeypatch.setattr("functions.operations._replay_batch.PAGE", 1)
    made = await stage(make)
    made.world.later(seconds=1)
    page = (await made.victim.call("POST", "/v1/dead-letters/replay", {"type": "none"})).body
    assert page["next_cursor"] is not None
    stored = await every_row(made)
    stolen = await made.attacker.call("POST", "/v1/dead-letters/replay", {"cursor": page["next_cursor"]})
    own = await made.attacker.call("POST", "/v1/dead-letters/replay", {})

    assert (stolen.status, stolen.code) == (400, "malformed_request")
    assert own.body["replayed"] == []
    assert await every_row(made) == stored


async def test_what_another_tenant_has_used_can_be_used(make: Make) -> None:
    """The taxpayer number of another tenant's user and the txids of its charge and its static code are free for every
    tenant: the answer does not show that they are in use."""
    made = await stage(make)
    user = await made.victim.get(f"/v1/users/{made.ids['user_id']}")
    document = {"type": "cpf", "number": user["document"]["number"]}
    body = {"kind": "customer", "name": "Bia", "document": document, "email": "bia@example.com"}
    assert (await made.victim.call("POST", "/v1/users", body)).code == "already_exists"
    assert (await made.attacker.call("POST", "/v1/users", body)).status == 201
    charge = {"account_id": made.own_account, "amount": brl(10), "txid": made.ids["txid"]}
    assert (await made.attacker.call("POST", "/v1/pix/charges", charge)).status == 201
    code = {"account_id": made.own_account, "txid": made.ids["code_txid"]}
    assert (await made.attacker.call("POST", "/v1/pix/static-codes", code)).status == 201


async def test_a_settlement_file_changes_no_payment_of_another_tenant() -> None:
    """A settlement file that has the reference of another tenant's transfer reports it as an unknown one, and changes
    nothing of the other tenant."""
    world = await World.with_rails()
    victim, attacker = await world.tenant("victim"), await world.tenant("attacker")
    account = await victim.account(overdraft=1000)
    transfer = over_rail("bank_transfer", account, 500)
    paid = await victim.made("/v1/payments", transfer)
    await world.settle()
    (reference,) = world.providers.bank._state.transfers
    made = Stage(world, victim, attacker)
    stored = await every_row(made)
    answers = []
    for number, named in enumerate((reference, "A" * len(reference)), 1):
        body = {"content": content(line(named, "returned", 500), sequence=number)}
        file = await attacker.made("/v1/settlement-files", body)
        await world.settle()
        found = await attacker.get(f"/v1/settlement-files/{file['id']}")
        answers.append(str({**found, "id": "", "sequence": 0, "digest": ""}).replace(named, "<reference>"))

    assert answers[0] == answers[1]
    assert await every_row(made) == stored
    assert await victim.status(paid["id"]) == "processing"


@pytest.mark.parametrize("name", LISTS)
async def test_lists_show_nothing_of_another_tenant(make: Make, name: str) -> None:
    """A tenant's list, with or without filters by another tenant's ids, contains nothing of the other tenant."""
    made, operation = await stage(make), TENANT_OPERATIONS[name]
    if operation.path_parameters:
        return
    assert operation.query is not None
    seen = await made.attacker.listed(operation.path)
    for field_name in operation.query.model_fields:
        value = {"owner_id": made.ids["user_id"], "account": made.ids["account_id"]}.get(field_name)
        if value is not None:
            seen += await made.attacker.listed(operation.path, f"{field_name}={value}")
            assert await made.victim.listed(operation.path, f"{field_name}={value}") != []
    text = orjson.dumps(seen).decode()
    assert [known for known in made.ids.values() if known in text] == []


@pytest.mark.parametrize("name", LISTS)
async def test_a_cursor_of_another_tenant_is_refused(make: Make, name: str) -> None:
    """A cursor is valid for its tenant, and is answered with 400 for any other."""
    made, operation = await stage(make), TENANT_OPERATIONS[name]
    ids = {**made.ids, "payment_id": made.ids["settled_payment_id"]}
    if name == "users/list_users":
        await made.victim.user()
    page = await made.victim.get(path_of(operation, ids), "limit=1")
    assert page["next_cursor"] is not None
    own = {"account_id": made.own_account, "user_id": await made.attacker.user()}
    if "payment_id" in operation.path_parameters:
        own["payment_id"] = await made.attacker.pay(made.own_account, await made.attacker.account(), 1)
    if "endpoint_id" in operation.path_parameters:
        own["endpoint_id"] = await endpoint(made.attacker)
    if "deposit_id" in operation.path_parameters:
        own["deposit_id"] = await made.attacker.fund(made.own_account, 1)
    path = path_of(operation, own)
    stolen = await made.attacker.call("GET", path, query=f"limit=1&cursor={page['next_cursor']}")

    assert (stolen.status, stolen.code) == (400, "malformed_request")
    assert (await made.attacker.call("GET", path, query="limit=1")).status == 200


async def test_one_key_of_two_tenants_is_two_keys(make: Make) -> None:
    """The same idempotency key, path and body of two tenants are two commands."""
    made = await stage(make)
    first = await made.victim.call("POST", "/v1/payments", payment("acc_1", "acc_2", 1), key="same")
    user = await made.victim.made("/v1/accounts", {"owner_id": made.ids["user_id"], "currency": "BRL"}, key="same")
    other = await made.attacker.call(
        "POST", "/v1/accounts", {"owner_id": made.ids["user_id"], "currency": "BRL"}, key="same"
    )
    assert first.status == 422
    assert (other.status, other.code) == (422, "unknown_reference")
    assert user["id"] not in other.raw.decode()


async def test_no_parameter_and_no_header_chooses_the_tenant(make: Make) -> None:
    """A request with another tenant in a header or in the query is refused."""
    made = await stage(make)
    path = f"/v1/payments/{made.ids['payment_id']}"
    operation = TENANT_OPERATIONS["payments/get_payment"]
    token = {"authorization": f"Bearer {made.attacker.id}"}
    named = HttpRequest("GET", path, "", {**token, "x-tenant-id": made.victim.id}, b"")
    asked = HttpRequest("GET", path, f"tenant_id={made.victim.id}", token, b"")

    assert (await serve(operation, named, made.world.runtime)).status == 403
    assert (await serve(operation, asked, made.world.runtime)).status == 400


def forged(event: Envelope, **extensions: str) -> Envelope:
    """Return the event with these extension attributes instead of its own."""
    return Envelope(
        id=f"{event.id}-forged",
        source=event.source,
        type=event.type,
        subject=event.subject,
        time=event.time,
        extensions={**event.extensions, **extensions},
        data=event.data,
        repeated=True,
    )


def events_of_the_victim(made: Stage) -> list[Envelope]:
    """Return each event of the victim once, however often it was published."""
    return list({event.id: event for event in made.world.pool.published if event.tenant_id == made.victim.id}.values())


async def test_events_whose_key_is_of_another_tenant_are_dead_letters(make: Make) -> None:
    """An event whose `partitionkey` is of another tenant than `tenantid` changes nothing and is parked by every
    consumer."""
    made = await stage(make)
    parked_before = len(await everything(made.world, made.attacker.id, DEAD_LETTERS))
    stored, attacked = await every_row(made), 0
    # What a dead letter has caused never becomes a dead letter.
    for event in [event for event in events_of_the_victim(made) if DEAD_LETTER_ID not in event.extensions]:
        for pending in deliveries_of(forged(event, tenantid=made.attacker.id)):
            await made.world.deliver(pending)
            attacked += 1
    await made.world.settle()
    letters = await everything(made.world, made.attacker.id, DEAD_LETTERS)

    assert attacked > 20
    assert len(letters) - parked_before == attacked
    assert {letter["cause"]["code"] for letter in letters} == {"tenant_mismatch"}
    assert await every_row(made) == stored


async def test_events_about_another_tenants_resources_change_nothing(make: Make) -> None:
    """An event of one tenant whose data contains another tenant's ids changes nothing of the other tenant."""
    made = await stage(make)
    stored = await every_row(made)
    balances = await made.victim.get("/v1/ledger/trial-balance")
    for event in events_of_the_victim(made):
        own = forged(event, tenantid=made.attacker.id, partitionkey=f"{made.attacker.id}/{event.subject}")
        for pending in deliveries_of(own):
            if pending.consumer.id != "ledger/post_transfer":
                await made.world.deliver(pending)

    assert await every_row(made) == stored
    assert (await made.victim.get("/v1/ledger/trial-balance"))["data"] == balances["data"]


async def test_events_of_no_tenant_are_dead_letters_of_the_platform(make: Make) -> None:
    """An event without a tenant is refused by every consumer but that of webhooks, which skips it, and no tenant sees
    its dead letter."""
    made = await stage(make)
    event = next(event for event in made.world.pool.published if event.type == "lastro.payment.created.v1")
    nobodys = forged(event)
    nobodys.extensions = {name: value for name, value in nobodys.extensions.items() if name != "tenantid"}
    consumers = set()
    for pending in deliveries_of(nobodys):
        consumers.add(pending.consumer.id)
        await made.world.deliver(pending)
    assert consumers == {"accounts/hold_funds", "webhooks/dispatch"}

    (letter,) = await everything(made.world, PLATFORM, DEAD_LETTERS)
    assert letter["cause"]["code"] == "malformed_request"
    assert letter["event"]["id"] == nobodys.id


async def test_two_tenants_at_once_have_separate_books(make: Make) -> None:
    """Two tenants that use the same keys and amounts at the same time have separate money and books."""
    made = await stage(make)
    payer = await made.attacker.account(1000)
    await made.attacker.pay(payer, made.own_account, 250)
    await made.world.settle()

    assert (await made.attacker.get(f"/v1/accounts/{payer}/balance"))["posted"] == 750
    await check_quiet(made.world, made.attacker)
