"""Tokens of persons: they see and use what is the person's own, whatever their scopes claim."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import pytest

from shared.http.operation import Access, HttpOperation
from shared.identity.tenancy import PERSON_SCOPES, TENANT_SCOPES
from shared.records.payments import PAYMENTS
from tests.functions.providers.rail import callback, deposit, report, with_rail
from tests.harness import Answer, Harness, operations

TENANT_OPERATIONS = {
    id: operation
    for id, operation in operations().items()
    if isinstance(operation, HttpOperation) and operation.access is Access.TENANT
}
ALLOWED = sorted(id for id, operation in TENANT_OPERATIONS.items() if operation.scope in PERSON_SCOPES)
BY_ID = sorted(id for id in ALLOWED if TENANT_OPERATIONS[id].path_parameters)
UNKNOWN = {
    "user_id": "usr_019b76daa800700099999999999fffff",
    "account_id": "acc_019b76daa800700099999999999fffff",
    "payment_id": "pay_019b76daa800700099999999999fffff",
    "refund_id": "rfd_019b76daa800700099999999999fffff",
    "deposit_id": "dep_019b76daa800700099999999999fffff",
    "return_id": "ret_019b76daa800700099999999999fffff",
}


BODIES = {"payments/resolve_review": {"outcome": "failed", "reason": "not wanted"}}
"""Bodies of the operations that require one."""


@dataclass
class Stage:
    """Ana and Rui each have an account; Eva is the person who tries. Rui has paid Ana."""

    harness: Harness
    ana: str
    rui: str
    eva: str
    accounts: dict[str, str]
    ids: dict[str, str] = field(default_factory=dict)

    async def call(self, person: str, method: str, path: str, body: Any = None, **options: Any) -> Answer:
        """Send a request with the token of a person, which claims every scope."""
        options.setdefault("scopes", TENANT_SCOPES)
        return await self.harness.call(method, path, body, person=person, **options)

    async def pay(self, person: str, payer: str, payee: str, value: int = 100, **fields: Any) -> Answer:
        """Create a payment with the token of a person."""
        body = {
            "amount": {"value": value, "currency": "BRL"},
            "method": "internal",
            "payer_account_id": payer,
            "payee_account_id": payee,
            **fields,
        }
        return await self.call(person, "POST", "/v1/payments", body)


@pytest.fixture
async def stage(harness: Harness) -> Stage:
    """Create the persons, their accounts, a settled and an authorized payment from Rui to Ana, a refund, and a deposit
    of which a part is being returned."""
    rail = await with_rail(harness)
    users = [(await harness.user(number))["id"] for number in ("52998224725", "11144477735", "12345678909")]
    ana, rui, eva = users
    accounts = {user: (await harness.account(owner_id=user))["id"] for user in users}
    await harness.fund(accounts[rui], 10_000)
    settled = (await harness.pay(accounts[rui], accounts[ana], 1_000))["id"]
    held = (await harness.pay(accounts[rui], accounts[ana], 500, capture="manual"))["id"]
    await harness.run_events()
    refund = (await harness.call("POST", f"/v1/payments/{settled}/refunds", {"amount": _brl(100)})).json["id"]
    made = (await deposit(harness, accounts[rui]))["id"]
    await harness.run_events()
    assert (await callback(harness, report(rail.requested[0][0]))).status == 200
    await harness.run_events()
    returned = await harness.call("POST", f"/v1/deposits/{made}/returns", {"amount": _brl(100)})
    await harness.run_events()
    ids = {
        "user_id": rui,
        "account_id": accounts[rui],
        "payment_id": held,
        "settled": settled,
        "refund_id": refund,
        "deposit_id": made,
        "return_id": returned.json["id"],
    }
    return Stage(harness, ana, rui, eva, accounts, ids)


def _brl(value: int) -> dict[str, Any]:
    return {"value": value, "currency": "BRL"}


def without_ids(answer: Answer) -> bytes:
    """Return an answer without the ids in it, which differ between requests."""
    text = re.sub(rb"[a-z]{3}_[0-9a-f]{32}", b"<id>", answer.body)
    return re.sub(rb'"request_id":"[^"]*"', b"", text)


def path_of(operation: HttpOperation, ids: dict[str, str]) -> str:
    """Return the operation's path with these ids."""
    return operation.path.format(**{name: ids[name] for name in operation.path_parameters})


def test_the_scopes_of_a_person_are_those_of_the_design() -> None:
    """A person's token reads the profile, accounts and statements, and has payments and deposits."""
    assert {
        "users:read",
        "accounts:read",
        "payments:read",
        "payments:write",
        "deposits:read",
        "deposits:write",
        "statements:read",
    } == PERSON_SCOPES


@pytest.mark.parametrize("name", sorted(TENANT_OPERATIONS.keys() - set(ALLOWED)))
async def test_no_claim_gives_a_person_another_scope(harness: Harness, name: str) -> None:
    """An operation outside a person's scopes is 403 for a person's token that claims its scope."""
    operation = TENANT_OPERATIONS[name]
    assert operation.scope is not None
    ids = dict.fromkeys(operation.path_parameters, "x")
    user = (await harness.user())["id"]
    answer = await harness.call(
        operation.method, path_of(operation, ids), {}, scopes=[operation.scope, *TENANT_SCOPES], person=user
    )
    assert (answer.status, answer.code) == (403, "insufficient_scope")


@pytest.mark.parametrize("name", BY_ID)
async def test_what_belongs_to_another_user_does_not_exist_for_a_person(stage: Stage, name: str) -> None:
    """Every operation on another user's resource is answered as on an unknown one, byte for byte, and changes
    nothing; the owner is not answered so."""
    operation = TENANT_OPERATIONS[name]
    body: dict[str, str] | None = None if operation.method == "GET" else BODIES.get(name, {})
    stored, events = repr(sorted(stage.harness.documents._rows.items())), len(stage.harness.events)  # type: ignore[attr-defined]  # in memory
    taken = await stage.call(stage.eva, operation.method, path_of(operation, stage.ids), body)
    nothing = await stage.call(stage.eva, operation.method, path_of(operation, UNKNOWN), body)
    assert (taken.status, taken.code) == (404, "not_found")
    assert without_ids(taken) == without_ids(nothing)
    assert repr(sorted(stage.harness.documents._rows.items())) == stored  # type: ignore[attr-defined]  # in memory
    assert len(stage.harness.events) == events
    own = await stage.call(stage.rui, operation.method, path_of(operation, stage.ids), body)
    assert own.status != 404


def test_every_operation_of_a_person_is_attacked() -> None:
    """The ids above fill the path of every operation that a person's scopes allow."""
    assert {parameter for name in BY_ID for parameter in TENANT_OPERATIONS[name].path_parameters} <= UNKNOWN.keys()
    assert len(BY_ID) >= 12


@pytest.mark.parametrize("path", ["/v1/users", "/v1/accounts", "/v1/payments"])
async def test_lists_show_the_persons_own(stage: Stage, path: str) -> None:
    """Each list has what is the person's own, newest first, and nothing for a person who has nothing there."""
    service = (await stage.harness.call("GET", path)).json["data"]
    for person, number in ((stage.ana, 2), (stage.rui, 2), (stage.eva, 0)):
        owner = {"/v1/users": "id", "/v1/accounts": "owner_id"}.get(path)
        expected = service[:number] if owner is None else [item for item in service if item[owner] == person]
        page = (await stage.call(person, "GET", path)).json
        assert page == {"data": expected, "next_cursor": None}


async def test_filters_and_cursors_open_nothing(stage: Stage) -> None:
    """A filter by another user's account, and a cursor of the service or of another person, show only what is the
    person's own."""
    accounts, eva = stage.accounts, stage.eva
    for query in (f"account={accounts[stage.rui]}", f"account={accounts[stage.ana]}", "status=settled"):
        assert (await stage.call(eva, "GET", "/v1/payments", query=query)).json["data"] == []
    assert (await stage.call(eva, "GET", "/v1/accounts", query=f"owner_id={stage.rui}")).json["data"] == []
    for path in ("/v1/payments", "/v1/accounts", "/v1/users"):
        cursor = (await stage.harness.call("GET", path, query="limit=1")).json["next_cursor"]
        found = (await stage.call(eva, "GET", path, query=f"cursor={cursor}")).json["data"]
        mine = (await stage.call(eva, "GET", path)).json["data"]
        assert all(item in mine for item in found)
    service = await stage.harness.call("GET", "/v1/accounts", query=f"owner_id={stage.rui}&limit=1")
    assert service.json["next_cursor"] is None
    forged = (await stage.harness.call("GET", "/v1/payments", query=f"account={accounts[stage.rui]}&limit=1")).json
    page = await stage.call(eva, "GET", "/v1/payments", query=f"cursor={forged['next_cursor']}")
    assert page.json["data"] == []


async def test_payments_between_two_accounts_are_filtered(stage: Stage) -> None:
    """A person's filter by a foreign account finds the payments between it and the person's own accounts."""
    service = (await stage.harness.call("GET", "/v1/payments")).json["data"]
    query = f"account={stage.accounts[stage.rui]}"
    assert (await stage.call(stage.ana, "GET", "/v1/payments", query=query)).json["data"] == service
    query = f"account={stage.accounts[stage.ana]}&status=settled"
    assert (await stage.call(stage.ana, "GET", "/v1/payments", query=query)).json["data"] == service[1:]
    query = f"account={stage.accounts[stage.eva]}"
    assert (await stage.call(stage.ana, "GET", "/v1/payments", query=query)).json["data"] == []


async def test_a_person_with_many_accounts_lists_payments_in_pages(harness: Harness) -> None:
    """The payments of more accounts than one query takes are merged, newest first, without a gap or a repetition."""
    owner, other = (await harness.user())["id"], (await harness.user("11144477735"))["id"]
    shop = (await harness.account(owner_id=other, overdraft_limit=10_000))["id"]
    accounts = [(await harness.account(owner_id=owner))["id"] for _ in range(120)]
    # A payment between two of the accounts is found by both, and listed once.
    pairs = [(shop, accounts[0]), (shop, accounts[60]), (accounts[119], accounts[1]), (shop, accounts[119])]
    made = [(await harness.pay(payer, payee, 10))["id"] for payer, payee in pairs]
    await harness.pay(shop, (await harness.account(owner_id=other))["id"], 10)
    listed: list[str] = []
    query = "limit=1"
    while True:
        answer = await harness.call("GET", "/v1/payments", query=query, person=owner)
        listed += [payment["id"] for payment in answer.json["data"]]
        if answer.json["next_cursor"] is None:
            break
        query = f"limit=1&cursor={answer.json['next_cursor']}"
    assert listed == made[::-1]


async def test_a_person_pays_from_own_accounts_only(stage: Stage) -> None:
    """A payment from another user's account is refused as one from an unknown account; from an own account it is
    made."""
    ana, rui = stage.accounts[stage.ana], stage.accounts[stage.rui]
    taken = await stage.pay(stage.ana, rui, ana)
    nothing = await stage.pay(stage.ana, UNKNOWN["account_id"], ana)
    assert (taken.status, taken.code) == (422, "unknown_reference")
    assert [error["pointer"] for error in taken.json["errors"]] == ["/payer_account_id"]
    assert without_ids(taken) == without_ids(nothing)
    made = await stage.pay(stage.ana, ana, rui)
    await stage.harness.run_events()
    assert (await stage.harness.payment(made.json["id"]))["status"] == "settled"


async def test_a_person_deposits_to_own_accounts_only(stage: Stage) -> None:
    """A deposit to another user's account is refused as one to an unknown account."""
    body = {"account_id": stage.accounts[stage.rui], "amount": _brl(100), "method": "pix"}
    answer = await stage.call(stage.eva, "POST", "/v1/deposits", body)
    assert (answer.status, answer.code) == (422, "unknown_reference")
    assert (await stage.call(stage.rui, "POST", "/v1/deposits", body)).status == 201


@pytest.mark.parametrize("action", ["capture", "cancel"])
async def test_who_may_capture_and_cancel(stage: Stage, action: str) -> None:
    """The payee, and the person who created the payment, may capture and cancel it; a payer may not for whom the
    service created it."""
    path = f"/v1/payments/{stage.ids['payment_id']}/{action}"
    refused = await stage.call(stage.rui, "POST", path)
    assert (refused.status, refused.code) == (403, "insufficient_scope")
    assert (await stage.harness.payment(stage.ids["payment_id"]))["status"] == "authorized"
    assert (await stage.call(stage.ana, "POST", path)).status == 200
    own = await stage.pay(stage.rui, stage.accounts[stage.rui], stage.accounts[stage.ana], capture="manual")
    await stage.harness.run_events()
    assert (await stage.call(stage.rui, "POST", f"/v1/payments/{own.json['id']}/{action}")).status == 200


async def test_only_the_payee_refunds(stage: Stage) -> None:
    """A payer cannot refund to itself what it has paid; the payee can."""
    path = f"/v1/payments/{stage.ids['settled']}/refunds"
    refused = await stage.call(stage.rui, "POST", path)
    assert (refused.status, refused.code) == (403, "insufficient_scope")
    assert (await stage.call(stage.ana, "POST", path)).status == 201


async def test_one_key_of_two_persons_is_two_keys(stage: Stage) -> None:
    """The same key, path and body of another person, or of the service, returns nothing of the first response."""
    path = f"/v1/payments/{stage.ids['payment_id']}/cancel"
    first = await stage.call(stage.ana, "POST", path, {}, key="same")
    assert first.status == 200
    stolen = await stage.call(stage.eva, "POST", path, {}, key="same")
    assert (stolen.status, stolen.code) == (404, "not_found")
    assert "idempotent-replayed" not in stolen.headers
    again = await stage.call(stage.ana, "POST", path, {}, key="same")
    assert (again.body, again.headers["idempotent-replayed"]) == (first.body, "true")
    service = await stage.harness.call("POST", path, {}, key="same")
    assert service.code == "illegal_state"


async def test_a_suspended_person_reads_and_does_not_pay(stage: Stage) -> None:
    """A suspended user's token still reads the own accounts; a payment is declined."""
    await stage.harness.call("POST", f"/v1/users/{stage.rui}/suspend")
    assert (await stage.call(stage.rui, "GET", f"/v1/accounts/{stage.accounts[stage.rui]}")).status == 200
    made = await stage.pay(stage.rui, stage.accounts[stage.rui], stage.accounts[stage.ana])
    await stage.harness.run_events()
    payment = await stage.harness.payment(made.json["id"])
    assert (payment["status"], payment["failure"]["code"]) == ("declined", "user_suspended")


async def test_the_persons_own_tenant_is_the_bound(stage: Stage) -> None:
    """A token that names a user of another tenant sees nothing."""
    await stage.harness.tenant("rival")
    for path in ("/v1/users", "/v1/accounts", "/v1/payments"):
        answer = await stage.harness.call("GET", path, person=stage.ana, tenant="rival")
        assert answer.json == {"data": [], "next_cursor": None}


async def test_a_payment_of_an_earlier_version_is_seen_and_canceled(stage: Stage) -> None:
    """A stored payment without `created_by` is the payee's to cancel, and not its payer's."""
    id = stage.ids["payment_id"]
    await stage.harness.forget(PAYMENTS, id, "created_by")
    assert (await stage.call(stage.rui, "POST", f"/v1/payments/{id}/cancel")).code == "insufficient_scope"
    assert (await stage.call(stage.ana, "POST", f"/v1/payments/{id}/cancel")).status == 200
