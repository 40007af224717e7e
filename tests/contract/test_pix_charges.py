"""PIX charges of a running platform, paid by its simulator as a stranger's bank pays, with every fault."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import jwt
import pytest
import pytest_asyncio

from shared.core.business_days import day_in_sao_paulo
from shared.core.clock import format_time
from tests.contract.calling import Client, Deployment, Pair, brl, eventually, in_status, new_pair
from tests.contract.wire import Answer

pytestmark = pytest.mark.asyncio(loop_scope="session")

CHARGES = "/v1/pix/charges"
SUSPENSE = "/v1/ledger/accounts/sys_suspense_brl/entries"


async def pay(deployment: Deployment, made: dict[str, Any], **fields: Any) -> Answer:
    """Pay a charge's code at the simulator, without a token."""
    body = json.dumps({"br_code": made["br_code"], **fields}).encode()
    headers = [("content-type", "application/json")]
    return await deployment.wire.send("POST", "/simulators/pix/payments", headers, body)


async def balance(client: Client, account: str) -> int:
    return int((await client.read(f"/v1/accounts/{account}/balance"))["posted"])


async def credited(client: Client, account: str, posted: int) -> None:
    await eventually(client, f"/v1/accounts/{account}/balance", lambda found: found["posted"] == posted)


@pytest_asyncio.fixture(loop_scope="session")
async def pair(deployment: Deployment) -> Pair:
    """A tenant of its own, whose suspense account is empty."""
    return await new_pair(await deployment.new_tenant())


@pytest.mark.parametrize(
    "fault", [{}, {"fault": "late", "seconds": 0.01}, {"fault": "twice"}, {"fault": "out_of_order"}]
)
async def test_a_paid_charge_is_credited_once(deployment: Deployment, pair: Pair, fault: dict[str, Any]) -> None:
    """A charge whose payment is reported at once, late, twice or before the payer's answer is credited once."""
    client, before = pair.client, await balance(pair.client, pair.payee)
    made = await client.made(CHARGES, {"account_id": pair.payee, "amount": brl(1_234)})
    answer = await pay(deployment, made, **fault)
    assert answer.status == 202, answer.body
    paid = await in_status(client, f"{CHARGES}/{made['txid']}", "paid")
    assert paid == made | {"status": "paid", "end_to_end_id": answer.document["endToEndId"]}
    await credited(client, pair.payee, before + 1_234)
    assert await client.read(SUSPENSE) == {"data": [], "next_cursor": None}


@pytest.mark.parametrize("fields", [{"fault": "wrong_amount"}, {"amount": brl(1_235)}])
async def test_a_wrong_amount_leaves_the_charge_active(
    deployment: Deployment, pair: Pair, fields: dict[str, Any]
) -> None:
    """The money of a wrong amount is in the suspense account, and the right amount still pays the charge."""
    client, before = pair.client, await balance(pair.client, pair.payee)
    made = await client.made(CHARGES, {"account_id": pair.payee, "amount": brl(1_234)})
    assert (await pay(deployment, made, **fields)).status == 202
    (entry,) = (await eventually(client, SUSPENSE, lambda page: bool(page["data"])))["data"]
    assert (entry["direction"], entry["amount"]) == ("credit", brl(1_235))
    assert await client.read(f"{CHARGES}/{made['txid']}") == made
    assert await balance(client, pair.payee) == before
    assert (await pay(deployment, made)).status == 202
    await in_status(client, f"{CHARGES}/{made['txid']}", "paid")
    await credited(client, pair.payee, before + 1_234)


async def test_a_changed_charge_is_paid_with_its_new_amount(deployment: Deployment, pair: Pair) -> None:
    """The provider's terms show a change, and a payer pays the new amount by the same code."""
    client, before = pair.client, await balance(pair.client, pair.payee)
    made = await client.made(CHARGES, {"account_id": pair.payee, "amount": brl(1_234)})
    path = f"{CHARGES}/{made['txid']}"
    changed = await client.send("PATCH", path, {"amount": brl(2_000)})
    assert (changed.status, changed.document) == (200, made | {"amount": brl(2_000)})
    terms = await deployment.wire.send("GET", "/" + made["location"].partition("/")[2])
    document = jwt.decode(terms.body.decode(), options={"verify_signature": False})
    assert (document["revisao"], document["valor"]) == (1, {"original": "20.00"})
    assert (await pay(deployment, made)).status == 202
    await in_status(client, path, "paid")
    await credited(client, pair.payee, before + 2_000)


async def test_a_withdrawn_charge_has_no_terms(deployment: Deployment, pair: Pair) -> None:
    """A withdrawn charge is `removed`, and the payer's bank finds nothing to pay at its location."""
    client = pair.client
    made = await client.made(CHARGES, {"account_id": pair.payee, "amount": brl(1_234)})
    answer = await client.post(f"{CHARGES}/{made['txid']}/remove")
    assert (answer.status, answer.document) == (200, made | {"status": "removed"})
    terms = await deployment.wire.send("GET", "/" + made["location"].partition("/")[2])
    assert terms.status == 410
    assert (await client.read(f"{CHARGES}?status=removed"))["data"] == [answer.document]


@pytest.mark.parametrize("fault", [None, "late", "twice", "out_of_order"])
async def test_a_received_payment_is_returned(deployment: Deployment, pair: Pair, fault: str | None) -> None:
    """A part of a payment is returned once, however its outcome is reported; the rest stays on the account."""
    client = pair.client
    body = {"account_id": pair.payee, "amount": brl(1_000), "method": "pix"}
    deposit = await client.made("/v1/deposits", body, also=(("prefer", "wait=10"),))
    before = await balance(client, pair.payee)
    if fault is not None:
        order = json.dumps({"fault": fault, "payments": "returned", "seconds": 0.01}).encode()
        json_type = [("content-type", "application/json")]
        assert (await deployment.wire.send("POST", "/simulators/pix/faults", json_type, order)).status == 202
    path = f"/v1/deposits/{deposit['id']}/returns"
    made = await client.made(path, {"amount": brl(400), "reason": "Too much"})
    settled = await in_status(client, f"/v1/returns/{made['id']}", "settled")
    assert (settled["amount"], settled["deposit_id"], len(settled["rail_id"])) == (brl(400), deposit["id"], 32)
    await credited(client, pair.payee, before - 400)
    assert (await client.read(path))["data"] == [settled]


async def test_a_refused_return_gives_the_money_back(deployment: Deployment, pair: Pair) -> None:
    """A return that the payer's bank refuses fails, and nothing stays held."""
    client = pair.client
    body = {"account_id": pair.payee, "amount": brl(1_000), "method": "pix"}
    deposit = await client.made("/v1/deposits", body, also=(("prefer", "wait=10"),))
    order = json.dumps({"fault": "refused", "payments": "returned"}).encode()
    json_type = [("content-type", "application/json")]
    assert (await deployment.wire.send("POST", "/simulators/pix/faults", json_type, order)).status == 202
    before = await client.read(f"/v1/accounts/{pair.payee}/balance")
    made = await client.made(f"/v1/deposits/{deposit['id']}/returns", {})
    failed = await in_status(client, f"/v1/returns/{made['id']}", "failed")
    assert failed["failure"]["code"] == "provider_refused"
    place = f"/v1/accounts/{pair.payee}/balance"
    await eventually(client, place, lambda found: (found["posted"], found["held"]) == (before["posted"], 0))


@pytest.mark.parametrize("decision", ["accept", "reject"])
async def test_a_payment_is_reported_as_a_fraud(deployment: Deployment, pair: Pair, decision: str) -> None:
    """A payment that its payer's bank reports as a fraud is held; accepted it goes back, rejected it is released."""
    client = pair.client
    made = await client.made(CHARGES, {"account_id": pair.payee, "amount": brl(1_234)})
    before = await balance(client, pair.payee)
    end_to_end_id = (await pay(deployment, made)).document["endToEndId"]
    await credited(client, pair.payee, before + 1_234)
    order = json.dumps({"endToEndId": end_to_end_id, "valor": "12.00"}).encode()
    json_type = [("content-type", "application/json")]
    assert (await deployment.wire.send("POST", "/simulators/pix/frauds", json_type, order)).status == 202
    reports = "/v1/pix/fraud-reports"
    held = await eventually(
        client, reports, lambda page: bool(page["data"]) and page["data"][0]["amount_held"] is not None
    )
    (report,) = held["data"]
    assert (report["status"], report["amount"], report["amount_held"]) == ("open", brl(1_200), brl(1_200))
    body = {"reason": "Delivered"} if decision == "reject" else {}
    answer = await client.post(f"{reports}/{report['id']}/{decision}", body)
    assert answer.status == 200, answer.body
    end = "settled" if decision == "accept" else "failed"
    await in_status(client, f"/v1/returns/{report['return_id']}", end)
    place, left = f"/v1/accounts/{pair.payee}/balance", before + 1_234 - (1_200 if decision == "accept" else 0)
    await eventually(client, place, lambda found: (found["posted"], found["held"]) == (left, 0))


async def test_a_payment_that_is_never_reported(deployment: Deployment, pair: Pair) -> None:
    """A charge whose payment is not reported stays active; the provider has the payment."""
    client = pair.client
    made = await client.made(CHARGES, {"account_id": pair.payee, "amount": brl(1_234)})
    answer = await pay(deployment, made, fault="never")
    assert answer.status == 202
    assert await client.read(f"{CHARGES}/{made['txid']}") == made
    path = f"/simulators/pix/pix/{answer.document['endToEndId']}"
    assert (await deployment.wire.send("GET", path)).document["valor"] == "12.34"


async def test_the_payers_bank_reads_the_terms_at_the_location(deployment: Deployment, pair: Pair) -> None:
    """The location of a charge answers without a token with its terms, signed with a key that the signature names."""
    made = await pair.client.made(CHARGES, {"account_id": pair.payee, "amount": brl(1_234), "description": "Book"})
    path = made["location"].partition("/")[2]
    answer = await deployment.wire.send("GET", f"/{path}")
    assert (answer.status, answer.header("content-type")) == (200, "application/jose")
    token = answer.body.decode()
    header = jwt.get_unverified_header(token)
    keys = (await deployment.wire.send("GET", "/" + header["jku"].split("/", 3)[3])).document
    key = jwt.PyJWKSet.from_dict(keys)[header["kid"]]
    terms = jwt.decode(token, key, algorithms=["ES256"])
    assert (terms["valor"], terms["status"], terms["solicitacaoPagador"]) == ({"original": "12.34"}, "ATIVA", "Book")
    assert terms["calendario"]["expiracao"] == 86_400


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"br_code": "nothing"}, 422),
        ({"amount": brl(1)}, 400),
        ({"br_code": "x", "fault": "explode"}, 400),
        ({"br_code": "x", "amount": {"value": "1", "currency": "BRL"}}, 400),
    ],
)
async def test_a_payment_that_the_simulator_cannot_read(
    deployment: Deployment, body: dict[str, Any], status: int
) -> None:
    """An invalid payment is refused with a problem in the rail's format."""
    headers = [("content-type", "application/json")]
    answer = await deployment.wire.send("POST", "/simulators/pix/payments", headers, json.dumps(body).encode())
    assert (answer.status, answer.header("content-type")) == (status, "application/problem+json")


async def test_the_picture_comes_over_http(pair: Pair) -> None:
    """The picture of a charge's QR code is answered as PNG over HTTP."""
    made = await pair.client.made(CHARGES, {"account_id": pair.payee, "amount": brl(1_234)})
    answer = await pair.client.get(f"{CHARGES}/{made['txid']}/qr.png")
    assert (answer.status, answer.header("content-type")) == (200, "image/png")
    assert answer.body.startswith(b"\x89PNG")


async def test_a_charge_with_a_due_date_is_paid(deployment: Deployment, pair: Pair) -> None:
    """The payer's bank reads the amount of today with its parts at the location, pays it, and the account is credited;
    neither the facts nor the journal of the ledger name the debtor."""
    client, before = pair.client, await balance(pair.client, pair.payee)
    due_date = day_in_sao_paulo(deployment.clock.now()) + timedelta(days=20)
    due = {
        "date": due_date.isoformat(),
        "debtor": {"name": "Ana Lima", "document": {"type": "cpf", "number": "11144477735"}},
        "fine": {"basis_points": 200},
        "interest": {"basis_points": 100, "per": "month"},
        "rebate": {"amount": brl(34)},
        "discounts": [{"basis_points": 1_000, "until": due_date.isoformat()}],
    }
    made = await client.made(CHARGES, {"account_id": pair.payee, "amount": brl(1_234), "due": due})
    assert made["due"]["amount_payable"] == brl(1_234 - 34 - 123)
    terms = await deployment.wire.send("GET", "/" + made["location"].partition("/")[2])
    document = jwt.decode(terms.body.decode(), options={"verify_signature": False})
    assert document["valor"] == {"original": "12.34", "abatimento": "0.34", "desconto": "1.23", "final": "10.77"}
    assert (document["devedor"]["nome"], document["calendario"]["dataDeVencimento"]) == ("Ana Lima", due["date"])
    assert (await pay(deployment, made, amount=brl(1_234))).status == 202
    await eventually(client, SUSPENSE, lambda page: bool(page["data"]))
    assert await client.read(f"{CHARGES}/{made['txid']}") == made
    assert (await pay(deployment, made)).status == 202
    paid = await in_status(client, f"{CHARGES}/{made['txid']}", "paid")
    assert paid["due"]["amount_payable"] == brl(1_077)
    await credited(client, pair.payee, before + 1_077)
    period = {
        "provider": "pix",
        "from": made["created_at"],
        "to": format_time(deployment.clock.now() + timedelta(days=1)),
    }
    begun = await client.made("/v1/reconciliations", period)
    done = await in_status(client, f"/v1/reconciliations/{begun['id']}", "completed")
    assert (done["matched"], done["unmatched"]) == (2, 0)


async def test_a_static_code_is_paid_twice(deployment: Deployment, pair: Pair) -> None:
    """Two strangers pay a static code, each payment is credited, and the clearing account agrees with the provider."""
    client, before = pair.client, await balance(pair.client, pair.payee)
    made = await client.made("/v1/pix/static-codes", {"account_id": pair.payee})
    assert (await pay(deployment, made)).status == 422
    for value, fault in ((300, "twice"), (400, "out_of_order")):
        assert (await pay(deployment, made, amount=brl(value), fault=fault)).status == 202
    await credited(client, pair.payee, before + 700)
    assert await client.read(SUSPENSE) == {"data": [], "next_cursor": None}
    end = format_time(deployment.clock.now() + timedelta(days=1))
    begun = await client.made("/v1/reconciliations", {"provider": "pix", "from": made["created_at"], "to": end})
    done = await in_status(client, f"/v1/reconciliations/{begun['id']}", "completed")
    assert (done["matched"], done["unmatched"]) == (2, 0)
