"""The card gateway's settlement report is compared with the clearing account."""

from __future__ import annotations

from typing import Any

import pytest

from tests.functions.providers.cards import Gateway, charge, with_gateway
from tests.harness import Harness

PERIOD = {"provider": "card", "from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z"}


@pytest.fixture
async def gateway(harness: Harness) -> Gateway:
    """The card gateway of the harness."""
    return await with_gateway(harness)


async def settled(gateway: Gateway, payee: str, value: int) -> str:
    made = await charge(gateway.harness, payee, value)
    await gateway.run()
    return str(made["id"])


async def refunded(gateway: Gateway, payment_id: str, value: int) -> str:
    body = {"amount": {"value": value, "currency": "BRL"}}
    made = await gateway.harness.call("POST", f"/v1/payments/{payment_id}/refunds", body)
    await gateway.run()
    return str(made.json["id"])


async def compared(gateway: Gateway, **more: Any) -> Any:
    answer = await gateway.harness.call("POST", "/v1/reconciliations", {**PERIOD, **more})
    assert answer.status == 201, answer.body
    return answer.json


async def test_captures_and_refunds_are_matched_by_our_ids(gateway: Gateway) -> None:
    """Each capture and refund of the report has its entry of the clearing account, by its reference and amount."""
    payee = (await gateway.harness.account())["id"]
    first, second = [await settled(gateway, payee, value) for value in (1050, 200)]
    refund = await refunded(gateway, first, 300)
    found = await compared(gateway)
    assert (found["matched"], found["unmatched"]) == (3, 0)
    pairs = {(item["ledger"]["reference"], item["provider"]["amount"]["value"]) for item in found["items"]}
    assert pairs == {(first, 1050), (second, 200), (refund, -300)}
    assert {item["rule"] for item in found["items"]} == {"reference"}


async def test_a_refund_of_another_amount_stays_unmatched(gateway: Gateway) -> None:
    """Where the gateway has returned another amount than the ledger has, both sides are shown as unmatched."""
    payee = (await gateway.harness.account())["id"]
    payment_id = await settled(gateway, payee, 1050)
    await gateway.fault("wrong_amount", action="refund")
    await refunded(gateway, payment_id, 300)
    found = await compared(gateway)
    assert (found["matched"], found["unmatched"]) == (1, 2)
    sides = {item["status"]: item for item in found["items"] if item["status"] != "matched"}
    assert sides["unmatched_ledger"]["ledger"]["amount"]["value"] == -300
    assert sides["unmatched_provider"]["provider"]["amount"]["value"] == -301


async def test_a_reconciliation_has_no_lines_of_other_tenants(gateway: Gateway) -> None:
    """The report has the lines of all tenants; a reconciliation has only those of its tenant's payments."""
    payee = (await gateway.harness.account())["id"]
    await settled(gateway, payee, 1050)
    await gateway.harness.tenant("other")
    answer = await gateway.harness.call("POST", "/v1/reconciliations", PERIOD, tenant="other")
    assert (answer.json["matched"], answer.json["unmatched"]) == (0, 0)


async def test_without_the_gateway_there_is_no_reconciliation(gateway: Gateway) -> None:
    """A gateway that does not answer, or refuses, is 503, and the key can be used again."""
    gateway.is_down = True
    answer = await gateway.harness.call("POST", "/v1/reconciliations", PERIOD, key="once")
    assert (answer.status, answer.code) == (503, "dependency_unavailable")
    gateway.is_down = False
    assert (await gateway.harness.call("POST", "/v1/reconciliations", PERIOD, key="once")).status == 201


async def test_a_long_report_is_read_page_by_page(gateway: Gateway) -> None:
    """A report of several pages is read to its end, and one with too many movements is refused."""
    payee = (await gateway.harness.account())["id"]
    for _ in range(3):
        await settled(gateway, payee, 100)
    pages = gateway.adapter.settlements

    async def one_line_each(since: Any, until: Any, page: int) -> Any:
        whole = await pages(since, until, 0)
        return whole._replace(lines=whole.lines[page : page + 1], has_more=page + 1 < len(whole.lines))

    gateway.adapter.settlements = one_line_each  # type: ignore[method-assign]
    assert (await compared(gateway))["matched"] == 3
    gateway.harness.runtime.settings = gateway.harness.runtime.settings._replace(reconciliation_movements=2)
    refused = await gateway.harness.call("POST", "/v1/reconciliations", PERIOD)
    assert refused.code == "validation_failed"
