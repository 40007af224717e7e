"""What a provider has paid is reconciled with the clearing account of its rail."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from shared.core.clock import format_time
from shared.records.system_accounts import clearing_account
from tests.functions.providers.rail import RecordingPayments, pay_out, payment_callback, with_payments
from tests.harness import Harness


@pytest.fixture
async def provider(harness: Harness) -> RecordingPayments:
    """The PIX provider of the harness."""
    return await with_payments(harness)


async def reconciled(harness: Harness) -> Any:
    """Reconcile the last two hours and the next, and return the reconciliation."""
    now = harness.clock.now()
    period = {"from": format_time(now - timedelta(hours=2)), "to": format_time(now + timedelta(hours=1))}
    answer = await harness.call("POST", "/v1/reconciliations", {"provider": "pix", **period})
    assert answer.status == 201, answer.body
    return answer.json


async def paid(harness: Harness, provider: RecordingPayments, payer: str, amount: int | None = None) -> str:
    """Make a payment of 1050 by PIX, of which the provider moves `amount`; return its id."""
    made = await pay_out(harness, payer)
    await harness.run_events()
    await payment_callback(harness, provider.decide("settled", amount))
    await harness.run_events()
    return str(made["id"])


async def test_payments_out_are_matched_by_their_end_to_end_id(harness: Harness, provider: RecordingPayments) -> None:
    """Each payment that the provider has made is matched with its entry of the clearing account, whose balance is the
    sum of what the provider has moved: refused payments are on neither side."""
    payer = (await harness.account(10_000))["id"]
    before = await harness.runtime.ledger.balance("acme", clearing_account("pix", "BRL"))
    harness.clock.advance(timedelta(days=1))
    for _ in range(2):
        await paid(harness, provider, payer)
    await pay_out(harness, payer)
    await harness.run_events()
    await payment_callback(harness, provider.decide("refused"))
    await harness.run_events()
    found = await reconciled(harness)
    assert (found["matched"], found["unmatched"]) == (2, 0)
    assert {item["rule"] for item in found["items"]} == {"reference"}
    assert [item["provider"]["amount"]["value"] for item in found["items"]] == [-1050, -1050]
    after = await harness.runtime.ledger.balance("acme", clearing_account("pix", "BRL"))
    assert after - before == -sum(item["provider"]["amount"]["value"] for item in found["items"])


@pytest.mark.parametrize("outcome", ["settled", "failed"])
async def test_a_reviewed_payment_is_matched_when_it_is_settled(
    harness: Harness, provider: RecordingPayments, outcome: str
) -> None:
    """A payment of another amount is unmatched until its review is settled with what was moved; failed, it stays
    unmatched."""
    payer = (await harness.account(10_000))["id"]
    harness.clock.advance(timedelta(days=1))
    payment_id = await paid(harness, provider, payer, 1000)
    before = await reconciled(harness)
    assert (before["matched"], before["unmatched"]) == (0, 1)
    body = {"outcome": outcome, "reason": "The bank has explained it."}
    assert (await harness.call("POST", f"/v1/payments/{payment_id}/resolve", body)).status == 200
    await harness.run_events()
    after = await reconciled(harness)
    assert (after["matched"], after["unmatched"]) == ((1, 0) if outcome == "settled" else (0, 1))
