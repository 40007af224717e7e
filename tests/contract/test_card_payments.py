"""Card payments of a running platform at its simulated gateway, with faults."""

from __future__ import annotations

import json
from typing import Any

import pytest
import pytest_asyncio

from tests.contract.calling import Client, Deployment, Pair, brl, eventually, in_status, new_pair

pytestmark = pytest.mark.asyncio(loop_scope="session")

PAYMENTS = "/v1/payments"
CLEARING = "/v1/ledger/accounts/sys_clearing_card_brl/entries"
NUMBER = "5555 5555 5555 4444"


async def order_fault(deployment: Deployment, payment_id: str | None, fault: str, **more: Any) -> None:
    """Order a fault at the simulator, without a token."""
    body = {"fault": fault, **more} | ({} if payment_id is None else {"reference": payment_id})
    headers = [("content-type", "application/json")]
    answer = await deployment.wire.send("POST", "/simulators/card/faults", headers, json.dumps(body).encode())
    assert answer.status == 202, answer.body


def card(payee: str, value: int, token: str = "tok_approve", **fields: Any) -> dict[str, Any]:
    return {"amount": brl(value), "method": "card", "card": {"token": token}, "payee_account_id": payee, **fields}


async def balance(client: Client, account: str) -> int:
    return int((await client.read(f"/v1/accounts/{account}/balance"))["posted"])


@pytest_asyncio.fixture(loop_scope="session")
async def pair(deployment: Deployment) -> Pair:
    """A tenant of its own, whose clearing account is empty."""
    return await new_pair(await deployment.new_tenant())


async def test_a_card_payment_and_its_refunds(pair: Pair) -> None:
    """A card payment is settled, refunded in two parts, and the clearing account clears to zero."""
    client, before = pair.client, await balance(pair.client, pair.payee)
    made = await client.made(PAYMENTS, card(pair.payee, 1_234))
    assert (made["status"], made["payer_account_id"], made["card"]) == ("created", None, {"token": "***rove"})
    path = f"{PAYMENTS}/{made['id']}"
    await in_status(client, path, "settled")
    assert await balance(client, pair.payee) == before + 1_234
    for amount in ({"amount": brl(234)}, {}):
        refund = await client.made(f"{path}/refunds", amount)
        await in_status(client, f"/v1/refunds/{refund['id']}", "settled")
    shown = await eventually(client, path, lambda found: found["amount_refunded"] == brl(1_234))
    assert shown["status"] == "settled"
    entries = (await client.read(CLEARING))["data"]
    assert [(entry["direction"], entry["amount"]["value"]) for entry in entries] == [
        ("debit", 1_234),
        ("credit", 234),
        ("credit", 1_000),
    ]
    assert entries[-1]["balance_after"] == brl(0)


async def test_a_declined_card(pair: Pair) -> None:
    """A declined card is no error: the payment is made, and `declined` with the reason."""
    made = await pair.client.made(PAYMENTS, card(pair.payee, 100, "tok_expired_card"))
    found = await in_status(pair.client, f"{PAYMENTS}/{made['id']}", "declined")
    assert found["failure"]["code"] == "card_expired"


async def test_a_manual_capture_in_part_and_a_void(deployment: Deployment, pair: Pair) -> None:
    """A card payment with manual capture is captured in part, another one is canceled and voided at the gateway."""
    client, before = pair.client, await balance(pair.client, pair.payee)
    captured = await client.made(PAYMENTS, card(pair.payee, 1_000, capture="manual"))
    canceled = await client.made(PAYMENTS, card(pair.payee, 1_000, capture="manual"))
    for made in (captured, canceled):
        await in_status(client, f"{PAYMENTS}/{made['id']}", "authorized")
    await client.post(f"{PAYMENTS}/{captured['id']}/capture", {"amount": brl(400)})
    await in_status(client, f"{PAYMENTS}/{captured['id']}", "settled")
    await client.post(f"{PAYMENTS}/{canceled['id']}/cancel")
    assert await balance(client, pair.payee) == before + 400

    async def at_gateway() -> Any:
        path = f"/simulators/card/v1/payments?reference={canceled['id']}"
        return (await deployment.wire.send("GET", path, [], b"")).document["data"][0]

    for _ in range(1_000):
        if (await at_gateway())["status"] == "canceled":
            break
        await client.read(f"{PAYMENTS}/{canceled['id']}")
    assert (await at_gateway())["status"] == "canceled"


@pytest.mark.parametrize("fault", [{"fault": "late", "seconds": 0.01}, {"fault": "twice"}, {"fault": "out_of_order"}])
async def test_faults_of_the_gateway(deployment: Deployment, pair: Pair, fault: dict[str, Any]) -> None:
    """A capture whose callback is late, repeated or early is credited once."""
    client, before = pair.client, await balance(pair.client, pair.payee)
    made = await client.made(PAYMENTS, card(pair.payee, 500, capture="manual"))
    await in_status(client, f"{PAYMENTS}/{made['id']}", "authorized")
    await order_fault(deployment, made["id"], action="capture", **fault)
    await client.post(f"{PAYMENTS}/{made['id']}/capture")
    await in_status(client, f"{PAYMENTS}/{made['id']}", "settled")
    assert await balance(client, pair.payee) == before + 500


async def test_another_amount_is_a_review(deployment: Deployment, pair: Pair) -> None:
    """When the gateway captures another amount the payment is in review, and an operator ends it."""
    client = pair.client
    made = await client.made(PAYMENTS, card(pair.payee, 500, capture="manual"))
    await in_status(client, f"{PAYMENTS}/{made['id']}", "authorized")
    await order_fault(deployment, made["id"], "wrong_amount", action="capture")
    await client.post(f"{PAYMENTS}/{made['id']}/capture")
    await in_status(client, f"{PAYMENTS}/{made['id']}", "review")
    await client.post(f"{PAYMENTS}/{made['id']}/resolve", {"outcome": "settled", "reason": "The gateway keeps it"})
    await in_status(client, f"{PAYMENTS}/{made['id']}", "settled")


@pytest.mark.parametrize(
    "fields", [{"description": f"card {NUMBER}"}, {"metadata": {"pan": NUMBER}}, {"card": {"number": NUMBER}}]
)
async def test_a_card_number_is_refused(pair: Pair, fields: dict[str, Any]) -> None:
    """A body with a card number is refused with 422, which does not show the number."""
    answer = await pair.client.post(PAYMENTS, card(pair.payee, 100) | fields)
    assert (answer.status, answer.document["code"]) == (422, "validation_failed")
    assert "card number" in answer.document["errors"][0]["detail"]
    assert "5555" not in answer.body.decode()


async def test_a_reconciliation_of_the_gateway(pair: Pair) -> None:
    """The gateway's settlement report is matched with the clearing account."""
    client = pair.client
    made = await client.made(PAYMENTS, card(pair.payee, 700))
    await in_status(client, f"{PAYMENTS}/{made['id']}", "settled")
    period = {"provider": "card", "from": "2020-01-01T00:00:00Z", "to": "2100-01-01T00:00:00Z"}
    found = await client.made("/v1/reconciliations", period)
    assert (found["matched"], found["unmatched"]) == (1, 0)
    assert found["items"][0]["ledger"]["reference"] == made["id"]
