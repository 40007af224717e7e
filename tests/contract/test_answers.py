"""The parts of every response: request ids, problem documents, locations of created resources, and the codes of the
contract."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

import pytest

from shared.core.problems import CODES
from shared.ports.documents import Commit, ReadToken, Unavailable
from shared.records.accounts import ACCOUNTS
from shared.records.users import USERS
from tests.contract.calling import TOKEN_PATH, Client, Deployment, Pair, brl, new_account, new_pair, user_body
from tests.contract.wire import Answer

pytestmark = pytest.mark.asyncio(loop_scope="session")

# The errors table of the contract.
TABLE = {
    400: "malformed_request missing_idempotency_key",
    401: "missing_token invalid_token missing_signature invalid_signature signature_replayed timestamp_out_of_window "
    "unknown_key revoked_key",
    403: "insufficient_scope tenant_mismatch tenant_suspended",
    404: "not_found",
    405: "method_not_allowed",
    409: "illegal_state already_exists request_in_progress",
    413: "payload_too_large",
    414: "uri_too_long",
    415: "unsupported_media_type",
    422: "validation_failed user_not_active idempotency_key_reused unknown_reference currency_mismatch account_closed "
    "amount_exceeds_authorized amount_exceeds_refundable",
    429: "rate_limited",
    431: "head_too_large",
    503: "dependency_unavailable",
    500: "internal_error",
}
STATUS_OF = {code: status for status, codes in TABLE.items() for code in codes.split()}


async def test_the_codes_are_those_of_the_contract() -> None:
    """The platform has the contract's codes with their statuses, and no others."""
    assert {code: kind.status for code, kind in CODES.items()} == STATUS_OF


def assert_problem(answer: Answer, code: str, *, instance: str | None = None) -> None:
    """Check that the answer is a complete problem document with this code."""
    assert answer.header("content-type") == "application/problem+json"
    document = answer.document
    assert (document["code"], document["status"], answer.status) == (code, STATUS_OF[code], STATUS_OF[code])
    assert set(document) == {"type", "title", "status", "detail", "instance", "code", "request_id", "errors"}
    assert document["type"].endswith(f"/problems/{code}")
    assert document["title"] == CODES[code].title
    assert document["detail"]
    assert document["request_id"] == answer.header("x-request-id")
    assert instance is None or document["instance"] == instance
    for error in document["errors"]:
        assert error["detail"]
        assert len({"pointer", "parameter"} & set(error)) == 1
    assert (answer.header("retry-after") is not None) == (
        code in ("rate_limited", "dependency_unavailable", "request_in_progress")
    )
    assert (answer.header("www-authenticate") is not None) == (answer.status == 401 or code == "insufficient_scope")
    assert (answer.header("allow") is not None) == (answer.status == 405)


@pytest.mark.parametrize("code", sorted(STATUS_OF))
async def test_each_code_has_its_page(deployment: Deployment, code: str) -> None:
    """A problem's `type` is the URL of a public page with cause and remedy."""
    answer = await deployment.wire.send("GET", f"/problems/{code}")
    assert (answer.status, answer.header("content-type")) == (200, "text/html; charset=utf-8")
    assert code in answer.body.decode()
    assert "Remedy" in answer.body.decode()


async def test_an_unknown_page_is_not_found(deployment: Deployment) -> None:
    """There is no page for an unknown code."""
    assert_problem(await deployment.wire.send("GET", "/problems/no_such_code"), "not_found")


# Codes that need more than one invalid request


async def refusals(deployment: Deployment, pair: Pair) -> dict[str, tuple[Answer, str]]:
    """Return problems of many kinds, with the paths of their requests."""
    client, wire = pair.client, deployment.wire
    manual = await pair.paid(capture="manual")
    settled = await pair.paid()
    user = user_body()
    await client.made("/v1/users", user)
    capture, refunds = f"/v1/payments/{manual['id']}/capture", f"/v1/payments/{settled['id']}/refunds"
    found = {
        "not_found": (client.get("/v1/payments/pay_none"), "/v1/payments/pay_none"),
        "method_not_allowed": (wire.send("DELETE", "/v1/users"), "/v1/users"),
        "missing_token": (wire.send("GET", "/v1/users?limit=2"), "/v1/users"),
        "invalid_token": (client.get("/v1/users", change={"authorization": "Bearer x"}), "/v1/users"),
        "insufficient_scope": (client.get("/v1/tenants/demo"), "/v1/tenants/demo"),
        "tenant_mismatch": (client.get("/v1/users", also=(("x-tenant-id", "x"),)), "/v1/users"),
        "missing_signature": (client.post("/v1/users", {}, change={"x-key-id": None}), "/v1/users"),
        "malformed_request": (client.get("/v1/users?limit=x"), "/v1/users"),
        "validation_failed": (client.post("/v1/users", {}), "/v1/users"),
        "illegal_state": (client.post(f"/v1/payments/{settled['id']}/cancel"), f"/v1/payments/{settled['id']}/cancel"),
        "already_exists": (client.post("/v1/users", user | {"email": "else@example.com"}), "/v1/users"),
        "unknown_reference": (client.post("/v1/payments", pair.payment(payer_account_id="acc_none")), "/v1/payments"),
        "currency_mismatch": (client.post(capture, {"amount": {"value": 1, "currency": "USD"}}), capture),
        "amount_exceeds_authorized": (client.post(capture, {"amount": brl(101)}), capture),
        "amount_exceeds_refundable": (client.post(refunds, {"amount": brl(101)}), refunds),
    }
    return {code: (await answer, path) for code, (answer, path) in found.items()}


async def test_problems_are_whole(deployment: Deployment, pair: Pair) -> None:
    """Each problem has all members and headers, and the path of its request without the query."""
    found = await refusals(deployment, pair)
    for code, (answer, path) in found.items():
        assert_problem(answer, code, instance=path)
    assert found["already_exists"][0].pointers == ["/document/number"]
    assert found["unknown_reference"][0].pointers == ["/payer_account_id"]
    assert found["amount_exceeds_authorized"][0].pointers == ["/amount/value"]
    assert found["amount_exceeds_refundable"][0].pointers == ["/amount/value"]
    assert found["currency_mismatch"][0].pointers == ["/amount/currency"]


async def test_the_payer_is_not_the_payee(pair: Pair) -> None:
    """A payment to the payer's own account is refused with a pointer to the payee."""
    answer = await pair.client.post("/v1/payments", pair.payment(payee_account_id=pair.payer))
    assert_problem(answer, "validation_failed")
    assert answer.pointers == ["/payee_account_id"]


@pytest.mark.parametrize("field", ["payer_account_id", "payee_account_id"])
async def test_currencies_must_agree(pair: Pair, field: str) -> None:
    """A payment in another currency than that of both accounts is refused."""
    dollars = await new_account(pair.client, currency="USD")
    answer = await pair.client.post("/v1/payments", pair.payment(**{field: dollars}))
    assert_problem(answer, "currency_mismatch")
    assert answer.pointers == [f"/{field}"]


async def stored(deployment: Deployment, collection: Any, tenant_id: str, id: str, **fields: object) -> None:
    """Change a stored document into a state for which there is no operation."""
    documents = deployment.platform.runtime.documents
    document = await documents.get(collection, tenant_id, id)
    assert document is not None
    await documents.commit(Commit(tenant_id, replaces=[(collection, {**document, **fields})]))


@pytest.mark.parametrize("field", ["payer_account_id", "payee_account_id"])
async def test_a_closed_account_neither_pays_nor_is_paid(deployment: Deployment, pair: Pair, field: str) -> None:
    """A payment from or to a closed account, and a deposit to it, is answered with 422 `account_closed` at the
    account's field."""
    account = await new_account(pair.client)
    await stored(deployment, ACCOUNTS, "demo", account, status="closed")
    answer = await pair.client.post("/v1/payments", pair.payment(**{field: account}))
    assert_problem(answer, "account_closed")
    assert answer.pointers == [f"/{field}"]
    deposit = {"account_id": account, "amount": brl(1), "method": "pix"}
    assert_problem(await pair.client.post("/v1/deposits", deposit), "account_closed")


@pytest.mark.parametrize("status", ["pending", "suspended", "closed"])
async def test_only_an_active_user_opens_accounts(deployment: Deployment, demo: Client, status: str) -> None:
    """A user that is not active cannot open an account: 422 `user_not_active` at the owner's field."""
    user = await demo.made("/v1/users", user_body())
    await stored(deployment, USERS, "demo", user["id"], status=status)
    answer = await demo.post("/v1/accounts", {"owner_id": user["id"], "currency": "BRL"})
    assert_problem(answer, "user_not_active")
    assert answer.pointers == ["/owner_id"]


async def test_a_blocked_payer_is_no_http_error(deployment: Deployment, demo: Client) -> None:
    """A payment of a blocked payer is created and then declined as `account_blocked`."""
    pair = await new_pair(demo)
    await stored(deployment, ACCOUNTS, "demo", pair.payer, status="blocked", block_mode="debits")
    payment = await pair.paid()
    assert (payment["status"], payment["failure"]["code"]) == ("declined", "account_blocked")


async def test_a_store_that_cannot_answer_is_503(
    deployment: Deployment, demo: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the store cannot make changes durable, every command is answered with 503 `dependency_unavailable`."""

    async def never(read_token: ReadToken | None = None) -> None:
        raise Unavailable("the disk is full")

    monkeypatch.setattr(deployment.platform.runtime.documents, "durable", never)
    for answer in (
        await demo.get("/v1/users"),
        await demo.post("/v1/users", user_body()),
        await demo.post("/v1/users", {}),
        await demo.wire.send(
            "POST",
            TOKEN_PATH,
            [("content-type", "application/x-www-form-urlencoded")],
            b"grant_type=client_credentials&client_id=lastro-platform&client_secret=x",
        ),
    ):
        assert_problem(answer, "dependency_unavailable")


async def test_a_defect_is_500_without_details(
    deployment: Deployment, demo: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unexpected exception is answered with `internal_error`; its details are in the log and not in the response."""
    user = await demo.made("/v1/users", user_body())

    async def broken(*_arguments: Any) -> list[str]:
        raise RuntimeError("the secret is hunter2")

    monkeypatch.setattr(deployment.platform.runtime.secrets, "open", broken)
    answer = await demo.get(f"/v1/users/{user['id']}")
    assert_problem(answer, "internal_error")
    assert b"hunter2" not in answer.body


# Request ids


DOORS = ["/v1/payments", "/v1/nowhere", "/healthz", "/v1/openapi.json", "/problems/not_found", "/", "/readyz"]


@pytest.mark.parametrize("target", DOORS)
@pytest.mark.parametrize("method", ["GET", "OPTIONS", "DELETE"])
async def test_a_valid_request_id_is_returned(deployment: Deployment, target: str, method: str) -> None:
    """A request id of 1 to 128 characters of `[A-Za-z0-9_.:-]` is returned unchanged in every response."""
    for sent in ("a", "A_z.0:9-", "x" * 128):
        answer = await deployment.wire.send(method, target, [("x-request-id", sent)])
        assert answer.header("x-request-id") == sent


@pytest.mark.parametrize("sent", [None, "", "x" * 129, "a b", "a/b", "ção", 'a"b', "a,b", "{}"])
@pytest.mark.parametrize("target", ["/v1/payments", "/healthz", "/v1/nowhere"])
async def test_another_request_id_is_replaced(deployment: Deployment, target: str, sent: str | None) -> None:
    """An absent or invalid request id is replaced by a new one, different each time."""
    headers = [] if sent is None else [("x-request-id", sent)]
    made = {(await deployment.wire.send("GET", target, headers)).header("x-request-id") for _ in range(2)}
    assert len(made) == 2
    assert all(id is not None and id != sent and re.fullmatch(r"[A-Za-z0-9_.:-]{1,128}", id) for id in made)


async def test_the_request_id_is_in_the_events_of_the_request(pair: Pair) -> None:
    """The request id is in the response and in all events that the request caused."""
    answer = await pair.client.post(
        "/v1/payments", pair.payment(), also=(("x-request-id", "found-again"), ("prefer", "wait=10"))
    )
    assert (answer.status, answer.header("x-request-id")) == (201, "found-again")
    seen: dict[str, set[str]] = {}
    place = 0
    while True:
        page = await pair.client.read(f"/platform/events?after={place}&limit=500")
        for item in page["data"]:
            seen.setdefault(item["event"]["correlationid"], set()).add(item["event"]["type"])
        if page["next"] == place:
            break
        place = page["next"]
    assert {"lastro.payment.created.v1", "lastro.payment.settled.v1", "lastro.ledger.transfer_posted.v1"} <= seen[
        "found-again"
    ]


# Locations of created resources


async def test_a_created_resource_has_a_location(deployment: Deployment, operator: Client) -> None:
    """A created resource is returned with 201 and Location, where a GET returns the same resource."""
    client = await deployment.new_tenant()
    pair = await new_pair(client)
    owner = (await client.read(f"/v1/accounts/{pair.payer}"))["owner_id"]
    settled = await pair.paid()
    made = {
        "/v1/users": user_body(),
        "/v1/accounts": {"owner_id": owner, "currency": "BRL"},
        "/v1/payments": pair.payment(capture="manual"),
        "/v1/deposits": {"account_id": pair.payer, "amount": brl(1), "method": "pix"},
        "/v1/pix/charges": {"account_id": pair.payer, "amount": brl(1)},
        "/v1/pix/static-codes": {"account_id": pair.payer},
        f"/v1/payments/{settled['id']}/refunds": {},
    }
    for path, body in made.items():
        answer = await client.post(path, body, also=(("prefer", "wait=10"),))
        location = answer.header("location")
        assert (answer.status, location is not None) == (201, True), answer.body
        assert urlsplit(location or "").path == location
        assert await client.read(location or "") == answer.document
    tenant = await operator.post("/v1/tenants", {"name": "Placed"})
    assert (await operator.read(tenant.header("location") or ""))["id"] == tenant.document["id"]
    key = await operator.post(f"{tenant.header('location')}/signing-keys")
    assert (await operator.read(key.header("location") or ""))["key_id"] == key.document["key_id"]


async def test_an_action_answers_200_without_a_location(pair: Pair) -> None:
    """An action is answered with 200, the present resource and no Location."""
    payment = await pair.paid(capture="manual")
    answer = await pair.client.post(f"/v1/payments/{payment['id']}/cancel")
    assert (answer.status, answer.header("location"), answer.document["id"]) == (200, None, payment["id"])
