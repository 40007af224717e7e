"""The examples of the OpenAPI document: one request and response of each operation, recorded on a running platform.

`task examples` records them into `functions/<domain>/examples.json`. test_examples.py compares the stored examples with
the platform's present answers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

from shared.adapters.providers.callback_signature import sign
from shared.core.business_days import day_in_sao_paulo
from shared.core.clock import format_time
from shared.http.openapi import EXAMPLES_FILE
from shared.http.operation import HttpOperation
from shared.http.pipeline import JSON_TYPE
from shared.ports.outgoing import OutgoingAnswer, OutgoingDocument
from shared.ports.rail import callback_secret_name
from shared.records.deposits import DEPOSITS
from tests.contract.calling import Access, Client, Deployment, Key, brl, eventually, in_status, running
from tests.contract.wire import Answer
from tests.functions.providers.rail import OPEN_MOVEMENTS, move_to_and_fro
from tests.harness import operations

ROOT: Final = Path(__file__).parents[2]
TENANT: Final = "acme"
WAIT: Final = (("prefer", "wait=10"),)

Examples = dict[str, dict[str, Any]]
"""The recorded exchanges, by the operation's id."""

_ID: Final = re.compile(r"\b([a-z]{3,4})[_-][0-9a-f]{32}\b")
_DAY: Final = re.compile(r"\b\d{4}-\d\d-\d\d\b")
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_TRACE: Final = re.compile(r"\b00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}\b")
_CHARGE: Final = re.compile(r"(?<=/charges/)[0-9a-f]{32}\b")
_END_TO_END: Final = re.compile(r"\b[ED][0-9]{20}[A-Za-z0-9]{11}\b")
_QR: Final = re.compile(r"(?:(?<=/qr/cobv/)|(?<=/qr/))[A-Za-z0-9]{22}\b")
_REFERENCE: Final = re.compile(r"\b[A-Z2-7]{20}\b")
_SETTLEMENT_FILE: Final = re.compile(r"(?s)9990000.*\r\n")
_VARYING: Final = frozenset(
    {
        "bank_reference",
        "br_code",
        "client_secret",
        "digest",
        "endToEndId",
        "moved_on",
        "next_cursor",
        "secret",
        "txid",
    }
)


def shape(value: Any, name: str = "") -> Any:
    """Return the value with placeholders for ids, times, traces, secrets and cursors, so that it is equal in every
    run."""
    if isinstance(value, dict):
        return {key: shape(inner, key) for key, inner in value.items()}
    if isinstance(value, list):
        return [shape(inner) for inner in value]
    if not isinstance(value, str):
        return value
    if name in _VARYING:
        return f"<{name}>"
    replaced = (
        (_ID, r"\1_<id>"),
        (_TIME, "<time>"),
        (_DAY, "<day>"),
        (_TRACE, "<trace>"),
        (_CHARGE, "<txid>"),
        (_QR, "<qr>"),
        (_END_TO_END, "<end to end>"),
        (_REFERENCE, "<reference>"),
        (_SETTLEMENT_FILE, "<settlement file>"),
    )
    for pattern, placeholder in replaced:
        value = pattern.sub(placeholder, value)
    return value


@dataclass
class Recorder:
    """Sends requests and stores each of them with its response under the operation that answers it."""

    found: Examples = field(default_factory=dict)

    async def send(
        self, client: Client, method: str, target: str, body: Any = None, *, also: Any = (), change: Any = None
    ) -> Any:
        """Send a request and return the document of its response. Fails when it is refused."""
        path, _, query = target.partition("?")
        operation = _answering(method, path)
        answer: Answer = await client.send(method, target, body, also=also, change=change)
        assert answer.status == operation.status, answer.body
        request: dict[str, Any] = {"path": path}
        if query:
            request["query"] = query
        if body is not None:
            request["body"] = json.loads(body) if isinstance(body, bytes) else body
        response: dict[str, Any] = {"status": answer.status}
        location = answer.header("location")
        if location is not None:
            response["location"] = location
        if answer.header("content-type") == JSON_TYPE:
            response["body"] = answer.document
        self.found.setdefault(operation.id, {"request": request, "response": response})
        return response.get("body")


def _answering(method: str, path: str) -> HttpOperation:
    for operation in operations().values():
        if isinstance(operation, HttpOperation) and (operation.method, True) == (
            method,
            operation.pattern.fullmatch(path) is not None,
        ):
            return operation
    raise AssertionError(f"no operation answers {method} {path}")


async def record(data_dir: Path) -> Examples:
    """Start a platform on an empty directory, call every operation once, and return what it answered."""
    recorder = Recorder()
    async with running(data_dir, faithful=False) as deployment:
        client = await _tenants(recorder, deployment)
        payer, payee = await _accounts(recorder, client)
        await _deposits(recorder, deployment, client, payer)
        await _payments(recorder, client, payer, payee)
        await _review(recorder, deployment, client, payer)
        await _books(recorder, client, payer)
        await _settlement_file(recorder, deployment, client, payer)
        await _dead_letters(recorder, deployment, client)
        await _notifications(recorder, client)
        await _webhooks(recorder, deployment, client)
    return recorder.found


async def _tenants(recorder: Recorder, deployment: Deployment) -> Client:
    operator = await deployment.operator()
    limits = {"requests_per_second": 500}
    made = await recorder.send(
        operator, "POST", "/v1/tenants", {"id": TENANT, "name": "Acme Pagamentos", "limits": limits}
    )
    await recorder.send(operator, "GET", f"/v1/tenants/{TENANT}")
    await recorder.send(operator, "POST", f"/v1/tenants/{TENANT}/suspend", {})
    await recorder.send(operator, "POST", f"/v1/tenants/{TENANT}/activate", {})
    first = made["signing_key"]["key_id"]
    keys = f"/v1/tenants/{TENANT}/signing-keys"
    key = await recorder.send(operator, "POST", keys, {"grace_seconds": 3600})
    await recorder.send(operator, "GET", f"{keys}/{first}")
    await recorder.send(operator, "POST", f"{keys}/{first}/revoke", {})
    token = await deployment.token_of(made["client"]["client_id"], made["client"]["client_secret"])
    return Client(deployment.wire, deployment.clock, Access(token), TENANT, Key(key["key_id"], key["secret"]))


async def _accounts(recorder: Recorder, client: Client) -> tuple[str, str]:
    customer = await recorder.send(
        client,
        "POST",
        "/v1/users",
        {
            "kind": "customer",
            "name": "Ana Souza",
            "document": {"type": "cpf", "number": "529.982.247-25"},
            "email": "ana@example.com",
            "phone": "+55 11 98765-4321",
            "metadata": {"customer_number": "1001"},
        },
    )
    merchant = await client.made(
        "/v1/users",
        {
            "kind": "merchant",
            "name": "Livraria Horizonte Ltda",
            "document": {"type": "cnpj", "number": "11.222.333/0001-81"},
            "email": "contato@example.com",
        },
    )
    await recorder.send(client, "GET", f"/v1/users/{customer['id']}")
    await recorder.send(client, "GET", "/v1/users?limit=2")
    path = f"/v1/users/{customer['id']}"
    await recorder.send(client, "PATCH", path, {"name": "Ana Souza Lima", "phone": "+55 21 98765-4321"})
    await recorder.send(client, "POST", f"{path}/suspend", {"reason": "The documents are being checked"})
    await recorder.send(client, "POST", f"{path}/activate", {})
    await recorder.send(client, "GET", f"{path}/changes?limit=2")
    former = await client.made(
        "/v1/users",
        {
            "kind": "customer",
            "name": "João Lima",
            "document": {"type": "cpf", "number": "111.444.777-35"},
            "email": "joao@example.com",
        },
    )
    await recorder.send(client, "POST", f"/v1/users/{former['id']}/close", {})
    await recorder.send(client, "GET", f"/v1/users/{former['id']}/export")
    await recorder.send(client, "POST", f"/v1/users/{former['id']}/erase", {})
    payer = await recorder.send(client, "POST", "/v1/accounts", {"owner_id": customer["id"], "currency": "BRL"})
    payee = await client.made("/v1/accounts", {"owner_id": merchant["id"], "currency": "BRL"})
    await recorder.send(client, "GET", f"/v1/accounts/{payer['id']}")
    await recorder.send(client, "GET", f"/v1/accounts?owner_id={customer['id']}")
    unused = await client.made("/v1/accounts", {"owner_id": customer["id"], "currency": "BRL"})
    limits = {"per_payment": 100_000, "per_day": 300_000, "per_night": 50_000}
    await recorder.send(client, "PATCH", f"/v1/accounts/{unused['id']}", {"limits": limits})
    block = {"mode": "all", "reason": "Requested by the customer"}
    await recorder.send(client, "POST", f"/v1/accounts/{unused['id']}/block", block)
    await recorder.send(client, "POST", f"/v1/accounts/{unused['id']}/unblock", {})
    await recorder.send(client, "POST", f"/v1/accounts/{unused['id']}/close", {})
    return payer["id"], payee["id"]


async def _deposits(recorder: Recorder, deployment: Deployment, client: Client, account: str) -> None:
    order = {"account_id": account, "amount": brl(20_000), "method": "pix"}
    deposit = await recorder.send(client, "POST", "/v1/deposits", order)
    path = f"/v1/deposits/{deposit['id']}"
    await in_status(client, path, "settled")
    await recorder.send(client, "GET", path)
    await eventually(client, f"/v1/accounts/{account}/balance", lambda balance: balance["posted"] == 20_000)
    # The first request of an operation is its example: the charge with a due date has every field.
    due = {
        "date": (day_in_sao_paulo(deployment.clock.now()) + timedelta(days=30)).isoformat(),
        "debtor": {"name": "Ana Souza", "document": {"type": "cpf", "number": "111.444.777-35"}},
        "fine": {"basis_points": 200},
        "interest": {"basis_points": 100, "per": "month"},
    }
    rent = {"account_id": account, "amount": brl(90_000), "description": "Rent", "due": due}
    await recorder.send(client, "POST", "/v1/pix/charges", rent)
    goods = {"account_id": account, "amount": brl(1_500), "expires_in": 3600, "description": "Order 1001"}
    charge = await client.made("/v1/pix/charges", goods)
    counter = {"account_id": account, "txid": "Counter1", "amount": brl(500)}
    code = await recorder.send(client, "POST", "/v1/pix/static-codes", counter)
    await recorder.send(client, "GET", f"/v1/pix/static-codes/{code['txid']}")
    await recorder.send(client, "GET", f"/v1/pix/static-codes/{code['txid']}/qr.png")
    await recorder.send(client, "GET", "/v1/pix/static-codes")
    await recorder.send(client, "GET", f"/v1/pix/charges/{charge['txid']}")
    await recorder.send(client, "GET", f"/v1/pix/charges/{charge['txid']}/qr.png")
    await recorder.send(client, "GET", "/v1/pix/charges?status=active&limit=10")
    terms = {"amount": brl(1_800), "description": "Order 1001, with postage"}
    await recorder.send(client, "PATCH", f"/v1/pix/charges/{charge['txid']}", terms)
    await recorder.send(client, "POST", f"/v1/pix/charges/{charge['txid']}/remove", {})
    returned = await recorder.send(
        client, "POST", f"{path}/returns", {"amount": brl(2_000), "reason": "The customer paid too much"}
    )
    await in_status(client, f"/v1/returns/{returned['id']}", "settled")
    await recorder.send(client, "GET", f"/v1/returns/{returned['id']}")
    await recorder.send(client, "GET", f"{path}/returns")
    await _fraud_reports(recorder, deployment, client, deposit["id"])
    # The simulator reports its payments inside the process. This callback is sent over HTTP.
    now = deployment.clock.now()
    report = {
        "endToEndId": f"E12345678{now:%Y%m%d%H%M}abcdefghijk",
        "valor": "15.00",
        "horario": now.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
    }
    secret = await deployment.platform.runtime.secrets.get(callback_secret_name("pix"))
    assert secret is not None
    body = json.dumps({"pix": [report]}).encode()
    provider = replace(client, key=None)
    change: dict[str, str | None] = {"authorization": None, "idempotency-key": None, **sign(secret, body, now)}
    for callback in ("/v1/providers/pix/callbacks", "/v1/providers/pix/callbacks/pix"):
        await recorder.send(provider, "POST", callback, body, change=change)
    await move_to_and_fro(deployment.platform.runtime.ledger, client.tenant_id, format_time(now))
    day = {
        "provider": "pix",
        "from": f"{now:%Y-%m-%d}T00:00:00Z",
        "to": f"{now + timedelta(days=1):%Y-%m-%d}T00:00:00Z",
    }
    made = await recorder.send(client, "POST", "/v1/reconciliations", day)
    await recorder.send(client, "GET", f"/v1/reconciliations/{made['id']}")
    match = {"ledger": OPEN_MOVEMENTS, "provider": [], "reason": "The bank corrected its own error"}
    await recorder.send(client, "POST", f"/v1/reconciliations/{made['id']}/match", match)
    await recorder.send(client, "GET", "/v1/operations/report")


async def _fraud_reports(recorder: Recorder, deployment: Deployment, client: Client, deposit_id: str) -> None:
    """Have parts of a deposit's payment reported as frauds, and decide on the reports."""
    runtime = deployment.platform.runtime
    deposit = await runtime.documents.get(DEPOSITS, TENANT, deposit_id)
    secret = await runtime.secrets.get(callback_secret_name("pix"))
    assert deposit is not None
    assert secret is not None
    provider, place = replace(client, key=None), "/v1/pix/fraud-reports"
    for number in (1, 2):
        report = {
            "id": f"6a0b0b3c-3d6c-4b1f-8a52-9f0d3c6a1e1{number}",
            "endToEndId": deposit["end_to_end_id"],
            "txid": deposit["txid"],
            "valor": "30.00",
            "status": "OPEN",
            "reportDetails": "The payer did not make this payment.",
        }
        body = json.dumps({"infractionReports": [report]}).encode()
        signed = sign(secret, body, deployment.clock.now())
        change: dict[str, str | None] = {"authorization": None, "idempotency-key": None, **signed}
        await recorder.send(provider, "POST", "/v1/providers/pix/callbacks/med", body, change=change)
        await eventually(client, f"{place}?status=open", _held)
        page = await recorder.send(client, "GET", f"{place}?status=open&limit=10")
        made = page["data"][0]["id"]
        await recorder.send(client, "GET", f"{place}/{made}")
        decision, reason = (("reject", "The goods were delivered"), ("accept", "The buyer has not received anything"))[
            number - 1
        ]
        decided = await recorder.send(client, "POST", f"{place}/{made}/{decision}", {"reason": reason})
        end = "failed" if decision == "reject" else "settled"
        await in_status(client, f"/v1/returns/{decided['return_id']}", end)


def _held(page: dict[str, Any]) -> bool:
    return bool(page["data"]) and page["data"][0]["amount_held"] is not None


async def _payments(recorder: Recorder, client: Client, payer: str, payee: str) -> None:
    parties = {"amount": brl(1_050), "method": "internal", "payer_account_id": payer, "payee_account_id": payee}
    order = {**parties, "reference": "order-1001", "description": "Order 1001", "metadata": {"channel": "web"}}
    payment = await recorder.send(client, "POST", "/v1/payments", order)
    path = f"/v1/payments/{payment['id']}"
    await in_status(client, path, "settled")
    await recorder.send(client, "GET", path)
    await recorder.send(client, "GET", "/v1/payments?status=settled&limit=10")
    await eventually(client, f"{path}/events", lambda page: page["data"][-1]["type"] == "lastro.payment.settled.v1")
    await recorder.send(client, "GET", f"{path}/events")
    refund = await recorder.send(
        client, "POST", f"{path}/refunds", {"amount": brl(350), "reason": "One book was out of stock"}
    )
    await in_status(client, f"/v1/refunds/{refund['id']}", "settled")
    await recorder.send(client, "GET", f"/v1/refunds/{refund['id']}")
    await recorder.send(client, "GET", f"{path}/refunds")
    manual = {**parties, "capture": "manual", "expires_in": 86_400}
    held = await client.made("/v1/payments", {**manual, "reference": "order-1002"}, also=WAIT)
    await recorder.send(client, "POST", f"/v1/payments/{held['id']}/capture", {"amount": brl(900)}, also=WAIT)
    held = await client.made("/v1/payments", {**manual, "reference": "order-1003"}, also=WAIT)
    await recorder.send(client, "POST", f"/v1/payments/{held['id']}/cancel", {"reason": "The customer canceled"})


async def _review(recorder: Recorder, deployment: Deployment, client: Client, payer: str) -> None:
    """Record the review of a payment by PIX, of which the provider has moved another amount."""
    fault = json.dumps({"fault": "wrong_amount", "payments": "sent"}).encode()
    headers = (("content-type", JSON_TYPE),)
    assert (await deployment.wire.send("POST", "/simulators/pix/faults", headers, fault)).status == 202
    order = {"amount": brl(250), "method": "pix", "payer_account_id": payer, "pix": {"key": "ana@example.com"}}
    paid = await client.made("/v1/payments", order)
    await in_status(client, f"/v1/payments/{paid['id']}", "review")
    reason = {"outcome": "failed", "reason": "The bank has taken the payment back"}
    await recorder.send(client, "POST", f"/v1/payments/{paid['id']}/resolve", reason)


async def _books(recorder: Recorder, client: Client, account: str) -> None:
    balance = f"/v1/accounts/{account}/balance"
    # 200.00 deposited, 20.00 and 30.00 of that returned, 10.50 and 9.00 paid, 3.50 refunded; nothing is held.
    await eventually(client, balance, lambda found: (found["posted"], found["held"]) == (13_400, 0))
    await recorder.send(client, "GET", balance)
    statement = f"/v1/accounts/{account}/statement"
    await eventually(client, statement, lambda page: len(page["data"]) == 6)
    await recorder.send(client, "GET", f"{statement}?limit=2")
    entries = await recorder.send(client, "GET", f"/v1/ledger/accounts/{account}/entries?limit=2")
    await recorder.send(client, "GET", f"/v1/ledger/transfers/{entries['data'][1]['transfer_id']}")
    await recorder.send(client, "GET", "/v1/ledger/trial-balance")


async def _settlement_file(recorder: Recorder, deployment: Deployment, client: Client, payer: str) -> None:
    """Record the import of a file that settles a bank transfer, whose outcome the bank does not report otherwise."""
    headers = (("content-type", JSON_TYPE),)
    fault = json.dumps({"fault": "never"}).encode()
    assert (await deployment.wire.send("POST", "/simulators/bank_transfer/faults", headers, fault)).status == 202
    holder = {"name": "Ana Souza", "document": {"type": "cpf", "number": "52998224725"}}
    account = {"bank": "341", "branch": "1234", "number": "1234567-8", "type": "checking", "holder": holder}
    order = {"amount": brl(700), "method": "bank_transfer", "payer_account_id": payer, "bank_account": account}
    paid = await client.made("/v1/payments", order)
    await in_status(client, f"/v1/payments/{paid['id']}", "processing")
    file = await deployment.wire.send("GET", "/simulators/bank_transfer/settlement-file?sequence=1")
    imported = await recorder.send(client, "POST", "/v1/settlement-files", {"content": file.body.decode()})
    path = f"/v1/settlement-files/{imported['id']}"
    await in_status(client, path, "applied")
    await recorder.send(client, "GET", path)


async def _dead_letters(recorder: Recorder, deployment: Deployment, client: Client) -> None:
    """Record the dead letters of a tenant, then those without a tenant, which are the operator's."""
    of_tenant = {"tenantid": TENANT, "partitionkey": f"{TENANT}/legacy"}
    for reader, path, extensions in (
        (client, "/v1/dead-letters", of_tenant),
        (await deployment.operator(), "/v1/platform/dead-letters", {}),
    ):
        for number in (1, 2):
            await _publish_without_amount(deployment, f"legacy-{number}", extensions)
            await eventually(reader, path, partial(_has, number))
        page = await recorder.send(reader, "GET", f"{path}?status=parked&limit=1")
        letter = f"{path}/{page['data'][0]['id']}"
        await recorder.send(reader, "GET", letter)
        await recorder.send(reader, "POST", f"{letter}/discard", {"reason": "Sent by a system that is switched off"})
        (rest,) = (await reader.read(f"{path}?status=parked"))["data"]
        await recorder.send(reader, "POST", f"{path}/{rest['id']}/replay", {})
        await eventually(reader, f"{path}?status=parked", partial(_has, 1))
        await recorder.send(reader, "POST", f"{path}/replay", {"type": "lastro.payment.created.v1"})


class _Accepting:
    """A network in which each endpoint accepts every event."""

    async def refusal(self, url: str) -> str | None:
        del url
        return None

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> OutgoingAnswer:
        del url, headers, body
        return OutgoingAnswer(204, None, 84)

    async def get(self, url: str, headers: Mapping[str, str]) -> OutgoingDocument:
        del url, headers
        return OutgoingDocument(404, None, b"")

    def url_of(self, location: str) -> str:
        return f"https://{location}"


async def _notifications(recorder: Recorder, client: Client) -> None:
    user = (await client.read("/v1/users?limit=100"))["data"][-1]
    path = f"/v1/users/{user['id']}/notification-preferences"
    quiet = {"from": "22:00", "to": "07:00"}
    await recorder.send(client, "PATCH", path, {"channels": ["email"], "locale": "pt-BR", "quiet_hours": quiet})
    await recorder.send(client, "GET", path)


async def _webhooks(recorder: Recorder, deployment: Deployment, client: Client) -> None:
    deployment.platform.runtime.outgoing = _Accepting()
    paths = "/v1/webhook-endpoints"
    body = {"url": "https://hooks.example.com/lastro", "events": ["lastro.user.registered.v1", "lastro.payment.*"]}
    made = await recorder.send(client, "POST", paths, body)
    path = f"{paths}/{made['id']}"
    await recorder.send(client, "GET", path)
    await recorder.send(client, "GET", f"{paths}?limit=10")
    document = {"type": "cpf", "number": "390.533.447-05"}
    person = {"kind": "customer", "name": "Rui Lima", "document": document, "email": "rui@example.com"}
    await client.made("/v1/users", person)
    await eventually(client, f"{path}/deliveries", _first_delivered)
    page = await recorder.send(client, "GET", f"{path}/deliveries?limit=10")
    await recorder.send(client, "POST", f"{path}/deliveries/{page['data'][0]['id']}/resend", {})
    await recorder.send(client, "POST", f"{path}/rotate-secret", {"grace_seconds": 3600})
    await recorder.send(client, "POST", f"{path}/enable", {})
    await recorder.send(client, "DELETE", path)


def _first_delivered(page: dict[str, Any]) -> bool:
    return bool(page["data"]) and page["data"][0]["status"] == "delivered"


async def _publish_without_amount(deployment: Deployment, id: str, extensions: dict[str, str]) -> None:
    """Publish a payment without an amount, which no consumer can process."""
    event = {
        "specversion": "1.0",
        "id": id,
        "source": "/legacy-system",
        "type": "lastro.payment.created.v1",
        "time": deployment.clock.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "datacontenttype": "application/json",
        **extensions,
        "correlationid": id,
        "data": {"payment_id": id},
    }
    operator, media_type = await deployment.operator(), {"content-type": "application/cloudevents+json"}
    answer = await operator.post("/brokers/default", json.dumps(event).encode(), change=media_type)
    assert answer.status == 202, answer.body


def _has(number: int, page: dict[str, Any]) -> bool:
    return len(page["data"]) == number


def stored() -> Examples:
    """The examples as they are stored beside the functions."""
    found: Examples = {}
    for file in sorted((ROOT / "functions").glob(f"*/{EXAMPLES_FILE}")):
        for name, example in json.loads(file.read_text(encoding="utf-8")).items():
            found[f"{file.parent.name}/{name}"] = example
    return found


def store(examples: Examples) -> bool:
    """Write the examples beside the functions and return True, unless those that are stored have the same shape.

    All are written or none, because they are of one run: an id in one of them is the same in the others.
    """
    if shape(stored()) == shape(examples):
        return False
    by_domain: dict[str, dict[str, Any]] = {}
    for operation, example in sorted(examples.items()):
        domain, _, name = operation.partition("/")
        by_domain.setdefault(domain, {})[name] = example
    for domain, found in by_domain.items():
        text = json.dumps(found, indent=2, ensure_ascii=False) + "\n"
        (ROOT / "functions" / domain / EXAMPLES_FILE).write_text(text, encoding="utf-8")
    return True
