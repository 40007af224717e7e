"""No document of another tenant is read, written or listed, and no response shows that it exists."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest

from embedded.broker.delivery import Outcome, dead_letter
from shared.core.envelope import DEAD_LETTER_ID, Envelope
from shared.http.messages import HttpRequest
from shared.http.operation import Access, HttpOperation
from shared.http.pipeline import serve
from shared.messaging.operation import EventOperation
from shared.ports.documents import PLATFORM
from shared.records.dead_letters import DEAD_LETTERS
from shared.records.payments import PAYMENTS
from shared.records.system_accounts import SYSTEM_ACCOUNTS
from tests.cnab import content
from tests.invariants.bodies import brl, payment
from tests.invariants.books import check_quiet, everything
from tests.invariants.conftest import Make
from tests.invariants.deliveries import Pending, deliveries_of, http_operations, operations, the_plan
from tests.invariants.tenant import Answer, Tenant
from tests.invariants.world import World

TENANT_OPERATIONS = {o.id: o for o in http_operations() if o.access is Access.TENANT}
BY_ID = sorted(name for name, operation in TENANT_OPERATIONS.items() if operation.path_parameters)
LISTS = sorted(name for name, o in TENANT_OPERATIONS.items() if o.query and "cursor" in o.query.model_fields)

SETTLEMENT = {"content": content()}
DAY = {"provider": "pix", "from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z"}
BODIES: dict[str, Any] = {
    "operations/discard_dead_letter": {"reason": "not wanted"},
    "providers/reject_fraud_report": {"reason": "not a fraud"},
    "providers/match_movements": {"ledger": ["ltr_1.0"], "provider": [], "reason": "the same money"},
    "payments/resolve_review": {"outcome": "failed", "reason": "not wanted"},
}
"""Bodies of the operations that require one."""

UNKNOWN = {
    "user_id": "usr_019b76daa800700099999999999fffff",
    "account_id": "acc_019b76daa800700099999999999fffff",
    "payment_id": "pay_019b76daa800700099999999999fffff",
    "refund_id": "rfd_019b76daa800700099999999999fffff",
    "deposit_id": "dep_019b76daa800700099999999999fffff",
    "report_id": "frd_019b76daa800700099999999999fffff",
    "return_id": "ret_019b76daa800700099999999999fffff",
    "txid": "019b76daa800700099999999999fffff",
    "reconciliation_id": "rec_019b76daa800700099999999999fffff",
    "file_id": "stf_019b76daa800700099999999999fffff",
    "transfer_id": "ltr_019b76daa800700099999999999fffff",
    "dead_letter_id": "dlt_019b76daa800700099999999999fffff",
    "delivery_id": "whd_019b76daa800700099999999999fffff",
    "endpoint_id": "whe_019b76daa800700099999999999fffff",
}
"""Unknown ids, by the path parameter."""


@dataclass
class Stage:
    """Two tenants. The first (the victim) has one of each resource, the second only an account."""

    world: World
    victim: Tenant
    attacker: Tenant
    ids: dict[str, str] = field(default_factory=dict)
    own_account: str = ""


async def stage(make: Make) -> Stage:
    """Create both tenants and the resources of the first."""
    world = await make(0)
    made = Stage(world, await world.tenant("victim"), await world.tenant("attacker"))
    victim, ids = made.victim, made.ids
    ids["user_id"] = await victim.user()
    await victim.call("PATCH", f"/v1/users/{ids['user_id']}", {"name": "Ana Lima"})
    ids["account_id"] = payer = await victim.account(owner=ids["user_id"])
    ids["deposit_id"] = await victim.fund(payer, 1000)
    ids["txid"] = (await victim.made("/v1/pix/charges", {"account_id": payer, "amount": brl(10)}))["txid"]
    await victim.made("/v1/pix/charges", {"account_id": payer, "amount": brl(20)})
    for _ in range(2):
        ids["return_id"] = (await victim.made(f"/v1/deposits/{ids['deposit_id']}/returns", {"amount": brl(1)}))["id"]
    for number in range(2):
        await world.report_fraud(ids["deposit_id"], 1, f"fraud-{number}", victim.id)
    ids["report_id"] = (await victim.listed("/v1/pix/fraud-reports"))[0]["id"]
    payee = await victim.account()
    settled = await victim.pay(payer, payee, 300)
    await world.settle()
    ids["refund_id"] = (await victim.made(f"/v1/payments/{settled}/refunds", {"amount": brl(100)}))["id"]
    await victim.made(f"/v1/payments/{settled}/refunds", {"amount": brl(50)})
    ids["payment_id"] = await victim.pay(payer, payee, 200, capture="manual")
    ids["settled_payment_id"] = settled
    await world.settle()
    (row,) = [p for p in await everything(world, victim.id, PAYMENTS) if p["id"] == settled]
    ids["transfer_id"] = row["transfer_id"]
    ids["reconciliation_id"] = (await victim.made("/v1/reconciliations", DAY))["id"]
    ids["file_id"] = (await victim.made("/v1/settlement-files", SETTLEMENT))["id"]
    ids["dead_letter_id"] = await park_something(made)
    ids["endpoint_id"] = await endpoint(victim)
    await endpoint(victim)
    for _ in range(2):
        await victim.account()
    await world.settle()
    sent = await victim.listed(f"/v1/webhook-endpoints/{ids['endpoint_id']}/deliveries")
    ids["delivery_id"] = sent[0]["id"]
    made.own_account = await made.attacker.account()
    return made


async def endpoint(tenant: Tenant) -> str:
    """Create a webhook endpoint for new accounts and return its id."""
    body = {"url": "https://hooks.example.com/", "events": ["lastro.account.opened.v1"]}
    return str((await tenant.made("/v1/webhook-endpoints", body))["id"])


async def park_something(made: Stage) -> str:
    """Send two undeliverable events of the victim to the dead letter sink, and return the id of one dead letter."""
    for event in [e for e in made.world.pool.published if e.tenant_id == made.victim.id][-2:]:
        url = "http://payments-settle.lastro.svc.cluster.local"
        pending = deliveries_of(event) or [Pending(next(iter(_subscriptions())), event, _sink())]
        letter = dead_letter(event, url, Outcome.DEAD, None)
        await made.world.deliver(Pending(pending[0].subscription, letter, _sink()))
    return str((await made.victim.listed("/v1/dead-letters"))[0]["id"])


def _subscriptions() -> Any:
    return the_plan().subscriptions


def _sink() -> EventOperation:
    sink = operations()["operations-park-dead-letter"]
    assert isinstance(sink, EventOperation)
    return sink


def path_of(operation: HttpOperation, ids: dict[str, str]) -> str:
    """Return the operation's path with these ids."""
    return operation.path.format(**{name: ids[name] for name in operation.path_parameters})


def without_ids(answer: Answer) -> bytes:
    """Return an answer without the ids in it, which differ between requests."""
    text = re.sub(rb"[a-z]{3}_[0-9a-f]{32}|sys_[a-z_]+|(?<=/charges/)[0-9a-f]{32}", b"<id>", answer.raw)
    return re.sub(rb'"request_id":"[^"]*"', b"", text)


@pytest.mark.parametrize("name", BY_ID)
async def test_another_tenants_id_is_answered_as_unknown(make: Make, name: str) -> None:
    """An operation answers another tenant's id as an unknown one: 404, equal in every byte and header."""
    made, operation = await stage(make), TENANT_OPERATIONS[name]
    body = None if operation.method == "GET" else BODIES.get(name, {})
    # The ids exist: their owner does not get 404.
    own = await made.victim.call(operation.method, path_of(operation, made.ids), body)
    assert own.status != 404
    made = await stage(make)
    stored = await every_row(made)
    taken = await made.attacker.call(operation.method, path_of(operation, made.ids), body)
    nothing = await made.attacker.call(operation.method, path_of(operation, UNKNOWN), body)

    assert (taken.status, taken.code) == (404, "not_found")
    assert without_ids(taken) == without_ids(nothing)
    assert set(taken.headers) == set(nothing.headers)
    assert await every_row(made) == stored


async def every_row(made: Stage) -> str:
    """Return all documents of the victim, as text."""
    rows = made.world.runtime.documents._rows  # type: ignore[attr-defined]  # the stage is in memory
    return repr(sorted((key, repr(row)) for key, row in rows.items() if key[1] == made.victim.id))


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


def bodies_with(account_id: str, user_id: str, own: str) -> list[tuple[str, Any, str]]:
    """Return every command that contains an id, with the pointer to it."""
    return [
        ("/v1/accounts", {"owner_id": user_id, "currency": "BRL"}, "/owner_id"),
        ("/v1/deposits", {"account_id": account_id, "amount": brl(100), "method": "pix"}, "/account_id"),
        ("/v1/pix/charges", {"account_id": account_id, "amount": brl(100)}, "/account_id"),
        ("/v1/payments", payment(account_id, own, 100), "/payer_account_id"),
        ("/v1/payments", payment(own, account_id, 100), "/payee_account_id"),
    ]


@pytest.mark.parametrize("number", range(4))
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


async def test_every_reference_in_a_body_is_attacked() -> None:
    """The commands above contain every field that is an id, so that a new field is tested too."""
    named = {
        (operation.path, f"/{name}")
        for operation in TENANT_OPERATIONS.values()
        if operation.command is not None
        for name in operation.command.model_fields
        if name.endswith("_id")
    }
    assert named == {(path, pointer) for path, _, pointer in bodies_with("", "", "")}


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
