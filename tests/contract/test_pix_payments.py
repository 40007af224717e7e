"""Payments by PIX of a running platform, made by its simulated provider, with every fault."""

from __future__ import annotations

import json
from typing import Any

import pytest
import pytest_asyncio

from tests.contract.calling import Client, Deployment, Pair, brl, eventually, in_status, new_pair

pytestmark = pytest.mark.asyncio(loop_scope="session")

CLEARING = "/v1/ledger/accounts/sys_clearing_pix_brl/entries?limit=100"
WAIT = (("prefer", "wait=10"),)


@pytest_asyncio.fixture(loop_scope="session")
async def pair(deployment: Deployment) -> Pair:
    """A tenant of its own, whose first account has 100.00."""
    made = await new_pair(await deployment.new_tenant())
    deposit = {"account_id": made.payer, "amount": brl(10_000), "method": "pix"}
    await made.client.made("/v1/deposits", deposit, also=WAIT)
    await eventually(made.client, f"/v1/accounts/{made.payer}/balance", lambda found: found["posted"] == 10_000)
    return made


async def fault(deployment: Deployment, **fields: Any) -> None:
    """Order a fault of the next payment out."""
    body = json.dumps({"payments": "sent", **fields}).encode()
    headers = [("content-type", "application/json")]
    assert (await deployment.wire.send("POST", "/simulators/pix/faults", headers, body)).status == 202


async def pay(pair: Pair, **fields: Any) -> Any:
    """Pay 12.34 by PIX, and return the payment as it was answered."""
    receiver = {"pix": {"key": "ana@example.com"}}
    body = {"amount": brl(1_234), "method": "pix", "payer_account_id": pair.payer, **receiver, **fields}
    return await pair.client.made("/v1/payments", body)


async def balance_is(client: Client, account: str, posted: int, held: int = 0) -> None:
    await eventually(
        client, f"/v1/accounts/{account}/balance", lambda found: (found["posted"], found["held"]) == (posted, held)
    )


@pytest.mark.parametrize(
    "ordered", [{}, {"fault": "late", "seconds": 0.01}, {"fault": "twice"}, {"fault": "out_of_order"}, {"fault": "cut"}]
)
async def test_a_payment_by_pix_is_made_once(deployment: Deployment, pair: Pair, ordered: dict[str, Any]) -> None:
    """A payment whose outcome is reported at once, late, twice or before the answer to its order, or whose answer is
    lost, settles once, and the clearing account has its amount."""
    if ordered:
        await fault(deployment, **({"fault": "cut"} if ordered["fault"] == "cut" else ordered))
    made = await pay(pair)
    settled = await in_status(pair.client, f"/v1/payments/{made['id']}", "settled")
    assert settled["amount_captured"] == brl(1_234)
    assert settled["pix"]["end_to_end_id"].startswith("E99999004")
    await balance_is(pair.client, pair.payer, 10_000 - 1_234)
    entries = (await pair.client.read(CLEARING))["data"]
    assert [(entry["direction"], entry["amount"]) for entry in entries] == [
        ("debit", brl(10_000)),
        ("credit", brl(1_234)),
    ]


async def test_a_refused_payment_releases_its_hold(deployment: Deployment, pair: Pair) -> None:
    """A payment that the provider refuses fails with the provider's code, and the payer has the whole balance."""
    await fault(deployment, fault="refused")
    made = await pay(pair)
    failed = await in_status(pair.client, f"/v1/payments/{made['id']}", "failed")
    assert failed["failure"]["code"] == "provider_refused"
    assert failed["failure"]["detail"].startswith("AB03: ")
    await balance_is(pair.client, pair.payer, 10_000)


async def test_an_unknown_key_fails_the_payment(pair: Pair) -> None:
    """A payment to a key that does not exist fails, and `Prefer: wait` returns the end."""
    body = {"amount": brl(1), "method": "pix", "payer_account_id": pair.payer, "pix": {"key": "ana@nowhere.invalid"}}
    failed = await pair.client.made("/v1/payments", body, also=WAIT)
    assert (failed["status"], failed["failure"]["code"]) == ("failed", "receiver_not_found")


async def test_a_payment_of_another_amount_is_reviewed_and_settled(deployment: Deployment, pair: Pair) -> None:
    """A payment of which another amount was moved waits in review; settled, the suspense account has the
    difference."""
    await fault(deployment, fault="wrong_amount")
    made = await pay(pair)
    path = f"/v1/payments/{made['id']}"
    await in_status(pair.client, path, "review")
    await balance_is(pair.client, pair.payer, 10_000, 1_234)
    decision = {"outcome": "settled", "reason": "The bank has confirmed its fee"}
    settled = await pair.client.post(f"{path}/resolve", decision, also=WAIT)
    assert (settled.status, settled.document["status"]) == (200, "settled")
    await balance_is(pair.client, pair.payer, 10_000 - 1_234)
    (entry,) = (await pair.client.read("/v1/ledger/accounts/sys_suspense_brl/entries"))["data"]
    assert (entry["direction"], entry["amount"]) == ("debit", brl(1))


async def test_a_charge_is_paid_by_its_br_code(pair: Pair) -> None:
    """A payment of a charge's dynamic BR Code settles, and the charge is paid with the same end-to-end id."""
    charge = await pair.client.made("/v1/pix/charges", {"account_id": pair.payee, "amount": brl(1_234)})
    made = await pay(pair, pix={"br_code": charge["br_code"]})
    settled = await in_status(pair.client, f"/v1/payments/{made['id']}", "settled")
    paid = await in_status(pair.client, f"/v1/pix/charges/{charge['txid']}", "paid")
    assert paid["end_to_end_id"] == settled["pix"]["end_to_end_id"]
    await balance_is(pair.client, pair.payee, 1_234)
    again = await pay(pair, pix={"br_code": charge["br_code"]})
    failed = await in_status(pair.client, f"/v1/payments/{again['id']}", "failed")
    assert failed["failure"]["code"] == "br_code_refused"


async def test_a_payment_of_an_own_charge_is_reconciled_on_both_sides(pair: Pair) -> None:
    """A payment of a charge of the same tenant leaves and comes in under one end-to-end id, and both movements are
    matched with the provider's reports."""
    charge = await pair.client.made("/v1/pix/charges", {"account_id": pair.payee, "amount": brl(1_234)})
    made = await pay(pair, pix={"br_code": charge["br_code"]})
    await in_status(pair.client, f"/v1/payments/{made['id']}", "settled")
    await in_status(pair.client, f"/v1/pix/charges/{charge['txid']}", "paid")
    period = {"provider": "pix", "from": "2020-01-01T00:00:00Z", "to": "2100-01-01T00:00:00Z"}
    found = await pair.client.made("/v1/reconciliations", period)
    amounts = sorted(item["provider"]["amount"]["value"] for item in found["items"])
    assert (amounts, found["unmatched"]) == ([-1_234, 1_234, 10_000], 0)


@pytest.mark.parametrize("fault", [None, "twice", "out_of_order"])
async def test_a_payment_that_its_receiver_returns_goes_back(
    deployment: Deployment, pair: Pair, fault: str | None
) -> None:
    """What the receiver returns of a payment, however it is reported, is credited to the payer once for each part, and
    the payment shows it as refunded."""
    made = await pay(pair)
    path = f"/v1/payments/{made['id']}"
    settled = await in_status(pair.client, path, "settled")
    for value in ("2.34", None):
        body = {"endToEndId": settled["pix"]["end_to_end_id"], "valor": value, "fault": fault}
        raw = json.dumps(body).encode()
        headers = [("content-type", "application/json")]
        assert (await deployment.wire.send("POST", "/simulators/pix/returns", headers, raw)).status == 202
    await eventually(pair.client, path, lambda found: found["amount_refunded"] == brl(1_234))
    await balance_is(pair.client, pair.payer, 10_000)
    refunds = (await pair.client.read(f"{path}/refunds"))["data"]
    assert {refund["status"] for refund in refunds} == {"settled"}
    assert sorted(refund["amount"]["value"] for refund in refunds) == [234, 1_000]
