"""The resources of the contract, field by field, in JSON."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from shared.core.envelope import Envelope
from tests.contract.calling import Client, Deployment, Pair, brl, cpf, eventually, in_status, new_pair

pytestmark = pytest.mark.asyncio(loop_scope="session")

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


class _Like:
    """A value that is equal to every text with this pattern."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and re.fullmatch(self.pattern, other) is not None

    def __hash__(self) -> int:
        return hash(self.pattern)

    def __repr__(self) -> str:
        return f"<{self.pattern}>"


A_TIME = _Like(TIME.pattern)


def an_id(prefix: str) -> _Like:
    return _Like(prefix + r"_[0-9A-Za-z]{20,40}")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def pair(deployment: Deployment) -> AsyncIterator[Pair]:
    """Two accounts of a tenant that only this module uses, so that its ledger has nothing else."""
    yield await new_pair(await deployment.new_tenant())


async def test_a_tenant(deployment: Deployment, operator: Client) -> None:
    """A tenant is returned with its secrets when it is created, and without them afterwards."""
    body = {"id": "golden-tenant", "name": "Açaí & Cia", "limits": {"requests_per_second": 7}}
    made = await operator.made("/v1/tenants", body)
    tenant = {
        "id": "golden-tenant",
        "name": "Açaí & Cia",
        "status": "active",
        "limits": {"requests_per_second": 7},
        "user_review": False,
        "created_at": A_TIME,
    }
    assert made == {
        **tenant,
        "client": {"client_id": an_id("cli"), "client_secret": _Like(r"[A-Za-z0-9_-]{43}")},
        "signing_key": {"key_id": an_id("key"), "secret": _Like(r"[A-Za-z0-9_-]{43}"), "status": "active"},
    }
    assert await operator.read("/v1/tenants/golden-tenant") == tenant


async def test_a_tenants_id_is_generated_when_omitted(operator: Client) -> None:
    """A generated tenant id has the form of a chosen one."""
    made = await operator.made("/v1/tenants", {"name": "No id"})
    assert made["id"] == _Like("[a-z0-9][a-z0-9-]{1,62}")
    assert made["limits"] == {"requests_per_second": None}


async def test_a_signing_key(deployment: Deployment, operator: Client) -> None:
    """A signing key shows its secret when it is created; its status is active, then grace, then revoked."""
    client = await deployment.new_tenant()
    path = f"/v1/tenants/{client.tenant_id}/signing-keys"
    made = await operator.made(path, {"grace_seconds": 60})
    assert made == {
        "key_id": an_id("key"),
        "secret": _Like(r"[A-Za-z0-9_-]{43}"),
        "status": "active",
        "created_at": A_TIME,
    }
    new = {"key_id": made["key_id"], "status": "active", "created_at": made["created_at"], "expires_at": None}
    assert await operator.read(f"{path}/{made['key_id']}") == new
    assert client.key is not None
    old = {"key_id": client.key.id, "status": "grace", "created_at": A_TIME, "expires_at": A_TIME}
    assert await operator.read(f"{path}/{client.key.id}") == old
    assert (await operator.made(f"{path}/{client.key.id}/revoke"))["status"] == "revoked"


async def test_a_user(demo: Client) -> None:
    """A user is returned with the registered personal data, the taxpayer number without punctuation."""
    number = cpf(987_654_321)
    body = {
        "kind": "merchant",
        "name": "João da Silva",
        "document": {"type": "cpf", "number": f"{number[:3]}.{number[3:6]}.{number[6:9]}-{number[9:]}"},
        "email": "joao@example.com",
        "phone": "+5511987654321",
        "metadata": {"store": "12"},
    }
    made = await demo.made("/v1/users", body)
    assert made == {
        **body,
        "id": an_id("usr"),
        "document": {"type": "cpf", "number": number},
        "status": "active",
        "created_at": A_TIME,
        "updated_at": A_TIME,
    }
    assert await demo.read(f"/v1/users/{made['id']}") == made


async def test_a_user_s_optional_fields_are_null(demo: Client) -> None:
    """Omitted optional fields of a user are null."""
    document = {"type": "cnpj", "number": "12ABC34501DE35"}
    body = {"kind": "customer", "name": "A", "document": document, "email": "a@b.co"}
    made = await demo.made("/v1/users", body)
    assert (made["phone"], made["metadata"]) == (None, None)
    assert made["document"] == document


async def test_an_account(demo: Client, pair: Pair) -> None:
    """An account has an overdraft limit of 0 by default and no balance."""
    owner = await pair.client.read(f"/v1/accounts/{pair.payer}")
    made = await pair.client.made("/v1/accounts", {"owner_id": owner["owner_id"], "currency": "JPY"})
    assert made == {
        "id": an_id("acc"),
        "owner_id": owner["owner_id"],
        "currency": "JPY",
        "status": "active",
        "block": None,
        "overdraft_limit": 0,
        "limits": None,
        "metadata": None,
        "created_at": A_TIME,
        "updated_at": A_TIME,
    }
    assert await pair.client.read(f"/v1/accounts/{made['id']}") == made


async def test_a_payment_from_its_creation_to_its_refund(pair: Pair) -> None:
    """Payment, refund, transfer, entries, statement, balance, timeline and trial balance of one payment have all
    their fields."""
    client = pair.client
    given = {"reference": "order 7", "description": "Sete pães", "metadata": {"till": "3"}}
    created = await client.made("/v1/payments", pair.payment(capture="manual", expires_in=3600, **given))
    payment = {
        "id": an_id("pay"),
        "status": "created",
        "amount": brl(100),
        "amount_captured": brl(0),
        "amount_refunded": brl(0),
        "method": "internal",
        "payer_account_id": pair.payer,
        "payee_account_id": pair.payee,
        "capture": "manual",
        **given,
        "failure": None,
        "created_at": A_TIME,
        "updated_at": A_TIME,
        "expires_at": A_TIME,
    }
    assert created == payment
    path = f"/v1/payments/{created['id']}"
    await in_status(client, path, "authorized")
    held = await client.read(f"/v1/accounts/{pair.payer}/balance")
    assert held == {
        "account_id": pair.payer,
        "currency": "BRL",
        "posted": 0,
        "held": 100,
        "available": 99_900,
        "as_of": A_TIME,
    }
    waiting = (("prefer", "wait=10"),)
    settled = await client.made(f"{path}/capture", {"amount": brl(70)}, also=waiting)
    assert settled == payment | {"status": "settled", "amount_captured": brl(70)}
    refunded = await client.made(f"{path}/refunds", {"amount": brl(20), "reason": "stale"}, also=waiting)
    assert refunded == {
        "id": an_id("rfd"),
        "payment_id": created["id"],
        "amount": brl(20),
        "status": "settled",
        "reason": "stale",
        "failure": None,
        "created_at": A_TIME,
        "updated_at": A_TIME,
    }
    assert await client.read(f"/v1/refunds/{refunded['id']}") == refunded
    assert (await client.read(path))["amount_refunded"] == brl(20)
    await assert_statement(pair, created["id"])
    await assert_ledger(pair, created["id"], refunded["id"])
    await assert_timeline(client, path, created["id"], refunded["id"])


async def settled_lines(pair: Pair, account: str, count: int) -> list[dict[str, Any]]:
    """Return the statement when it has this many lines, which are made after the payment has settled."""
    target = f"/v1/accounts/{account}/statement"
    page = await eventually(pair.client, target, lambda page: len(page["data"]) >= count)
    lines: list[dict[str, Any]] = page["data"]
    return lines


async def assert_statement(pair: Pair, payment_id: str) -> None:
    """Check the two lines of each account and their running balances."""

    def line(account: str, other: str, direction: str, amount: int, after: int, description: str | None) -> Any:
        return {
            "id": an_id("lin"),
            "account_id": account,
            "recorded_at": A_TIME,
            "direction": direction,
            "amount": brl(amount),
            "balance_after": brl(after),
            "transfer_id": an_id("ltr"),
            "payment_id": payment_id,
            "counterparty_account_id": other,
            "description": description,
        }

    payer, payee = pair.payer, pair.payee
    lines = await settled_lines(pair, payer, 2)
    assert lines == [
        line(payer, payee, "debit", 70, -70, lines[0]["description"]),
        line(payer, payee, "credit", 20, -50, lines[1]["description"]),
    ]
    lines = await settled_lines(pair, payee, 2)
    assert lines == [
        line(payee, payer, "credit", 70, 70, lines[0]["description"]),
        line(payee, payer, "debit", 20, 50, lines[1]["description"]),
    ]


async def assert_ledger(pair: Pair, payment_id: str, refund_id: str) -> None:
    """Check the transfers of capture and refund, their entries, and the turnover."""
    client, payer, payee = pair.client, pair.payer, pair.payee
    entries = (await client.read(f"/v1/ledger/accounts/{payer}/entries"))["data"]
    assert entries == [
        {
            "id": _Like(r"ltr_[0-9a-z]+\.\d"),
            "transfer_id": an_id("ltr"),
            "account_id": payer,
            "direction": direction,
            "amount": brl(amount),
            "balance_after": brl(after),
            "recorded_at": A_TIME,
        }
        for direction, amount, after in (("debit", 70, -70), ("credit", 20, -50))
    ]
    for entry, cause, sides in (
        (entries[0], {"type": "payment", "id": payment_id}, (payer, payee)),
        (entries[1], {"type": "refund", "id": refund_id}, (payee, payer)),
    ):
        transfer = await client.read(f"/v1/ledger/transfers/{entry['transfer_id']}")
        assert transfer == {
            "id": entry["transfer_id"],
            "legs": [
                {"account_id": account, "direction": direction, "amount": entry["amount"]}
                for account, direction in zip(sides, ("debit", "credit"), strict=True)
            ],
            "cause": cause,
            "recorded_at": entry["recorded_at"],
        }
    turnover = [
        {"account_id": account, "debits": debits, "credits": credits}
        for account, debits, credits in sorted([(payer, 70, 20), (payee, 20, 70)])
    ]
    assert await client.read("/v1/ledger/trial-balance") == {
        "data": [{"currency": "BRL", "debits": 90, "credits": 90, "accounts": turnover}],
        "as_of": A_TIME,
    }


async def assert_timeline(client: Client, path: str, payment_id: str, refund_id: str) -> None:
    """Check that the timeline has every fact with its full CloudEvents type, oldest first, with those of the refund."""
    facts = (await client.read(f"{path}/events"))["data"]
    assert [fact["type"] for fact in facts] == [
        "lastro.payment.created.v1",
        "lastro.payment.authorized.v1",
        "lastro.payment.capture_requested.v1",
        "lastro.payment.settled.v1",
        "lastro.refund.created.v1",
        "lastro.refund.settled.v1",
    ]
    for fact in facts:
        assert set(fact) == {"id", "type", "time", "data"}
        assert (fact["id"], fact["time"], fact["data"]["payment_id"]) == (an_id("evt"), A_TIME, payment_id)
    assert facts[-1]["data"]["refund_id"] == refund_id


async def test_a_declined_payment_has_a_failure(pair: Pair) -> None:
    """A declined payment has a failure with a code and a detail."""
    declined = await pair.paid(amount=brl(10**9))
    assert (declined["status"], declined["amount_captured"]) == ("declined", brl(0))
    assert set(declined["failure"]) == {"code", "detail"}
    assert declined["failure"]["code"] == "insufficient_funds"


async def test_a_deposit(deployment: Deployment) -> None:
    """A deposit is paid by the simulated provider at once and credited to the account."""
    pair = await new_pair(await deployment.new_tenant())
    client = pair.client
    body = {"account_id": pair.payer, "amount": brl(5_000), "method": "pix"}
    made = await client.made("/v1/deposits", body, also=(("prefer", "wait=10"),))
    assert made == {
        **body,
        "id": an_id("dep"),
        "status": "settled",
        "failure": None,
        "created_at": A_TIME,
        "updated_at": A_TIME,
    }
    assert await client.read(f"/v1/deposits/{made['id']}") == made
    lines = await settled_lines(pair, pair.payer, 1)
    assert (lines[0]["payment_id"], lines[0]["direction"], lines[0]["amount"]) == (None, "credit", brl(5_000))


async def test_a_dead_letter(deployment: Deployment) -> None:
    """A dead letter has the whole event, the consumer and the cause."""
    client = await deployment.new_tenant()
    tenant = client.tenant_id
    broken = Envelope(
        id="evt_golden_dead_letter",
        source="/lastro/tests",
        type="lastro.payment.created.v1",
        subject="pay_golden",
        time="2026-11-20T12:00:00.000000Z",
        extensions={"tenantid": tenant, "partitionkey": f"{tenant}/pay_golden", "correlationid": "golden"},
        data=b'{"payment_id": "pay_golden"}',
    )
    await deployment.platform.broker.publish("default", broken)
    (letter,) = (await eventually(client, "/v1/dead-letters", lambda page: bool(page["data"])))["data"]
    assert set(letter) == {"id", "event", "consumer", "cause", "attempts", "status", "parked_at"}
    assert set(letter["cause"]) == {"code", "status", "detail"}
    assert (letter["cause"]["code"], letter["cause"]["status"]) == ("validation_failed", 422)
    assert (letter["status"], letter["attempts"], letter["parked_at"]) == ("parked", 1, A_TIME)
    assert "hold-funds" in letter["consumer"]
    assert letter["event"]["id"] == "evt_golden_dead_letter"
    assert letter["event"]["data"] == {"payment_id": "pay_golden"}
    path = f"/v1/dead-letters/{letter['id']}"
    assert await client.read(path) == letter
    assert (await client.post(f"{path}/discard", {})).pointers == ["/reason"]
    discarded = await client.made(f"{path}/discard", {"reason": "made for a test"})
    assert discarded == letter | {"status": "discarded"}
    for action, body in (("replay", None), ("discard", {"reason": "again"})):
        assert (await client.post(f"{path}/{action}", body)).code == "illegal_state"


async def test_the_openapi_document_is_open_to_all(deployment: Deployment) -> None:
    """The OpenAPI document is served without a token, as version 3.1, with every operation of the contract."""
    answer = await deployment.wire.send("GET", "/v1/openapi.json")
    document = answer.document
    assert (answer.status, answer.header("content-type"), document["openapi"]) == (200, "application/json", "3.1.0")
    described = {
        f"{method.upper()} {re.sub('{[a-z_]+}', '*', path)}"
        for path, methods in document["paths"].items()
        for method in methods
    }
    assert described == set(OPERATIONS.split("\n"))


OPERATIONS = """\
POST /v1/tenants
GET /v1/tenants/*
POST /v1/tenants/*/suspend
POST /v1/tenants/*/activate
POST /v1/tenants/*/signing-keys
GET /v1/tenants/*/signing-keys/*
POST /v1/tenants/*/signing-keys/*/revoke
POST /v1/users
GET /v1/users/*
GET /v1/users
PATCH /v1/users/*
POST /v1/users/*/activate
POST /v1/users/*/suspend
POST /v1/users/*/close
GET /v1/users/*/changes
GET /v1/users/*/export
POST /v1/users/*/erase
POST /v1/accounts
GET /v1/accounts/*
GET /v1/accounts
GET /v1/accounts/*/balance
GET /v1/accounts/*/statement
POST /v1/payments
GET /v1/payments/*
GET /v1/payments
POST /v1/payments/*/capture
PATCH /v1/accounts/*
POST /v1/accounts/*/block
POST /v1/accounts/*/unblock
POST /v1/accounts/*/close
POST /v1/payments/*/cancel
POST /v1/payments/*/resolve
POST /v1/payments/*/refunds
GET /v1/payments/*/refunds
GET /v1/refunds/*
GET /v1/payments/*/events
POST /v1/deposits
GET /v1/deposits/*
POST /v1/deposits/*/returns
GET /v1/deposits/*/returns
GET /v1/returns/*
POST /v1/pix/charges
GET /v1/pix/charges
GET /v1/pix/charges/*
PATCH /v1/pix/charges/*
POST /v1/pix/charges/*/remove
GET /v1/pix/charges/*/qr.png
POST /v1/pix/static-codes
GET /v1/pix/static-codes
GET /v1/pix/static-codes/*
GET /v1/pix/static-codes/*/qr.png
POST /v1/providers/*/callbacks
POST /v1/providers/pix/callbacks/pix
POST /v1/providers/pix/callbacks/med
GET /v1/pix/fraud-reports
GET /v1/pix/fraud-reports/*
POST /v1/pix/fraud-reports/*/accept
POST /v1/pix/fraud-reports/*/reject
POST /v1/settlement-files
GET /v1/settlement-files/*
POST /v1/reconciliations
GET /v1/reconciliations/*
POST /v1/reconciliations/*/match
GET /v1/operations/report
POST /v1/dead-letters/replay
POST /v1/platform/dead-letters/replay
GET /v1/ledger/transfers/*
GET /v1/ledger/accounts/*/entries
GET /v1/ledger/trial-balance
GET /v1/dead-letters
GET /v1/dead-letters/*
POST /v1/dead-letters/*/replay
POST /v1/dead-letters/*/discard
GET /v1/platform/dead-letters
GET /v1/platform/dead-letters/*
POST /v1/platform/dead-letters/*/replay
POST /v1/platform/dead-letters/*/discard
GET /v1/users/*/notification-preferences
PATCH /v1/users/*/notification-preferences
POST /v1/webhook-endpoints
GET /v1/webhook-endpoints
GET /v1/webhook-endpoints/*
DELETE /v1/webhook-endpoints/*
GET /v1/webhook-endpoints/*/deliveries
POST /v1/webhook-endpoints/*/deliveries/*/resend
POST /v1/webhook-endpoints/*/enable
POST /v1/webhook-endpoints/*/rotate-secret"""
