"""The balances of accounts change with the transfers of the ledger."""

from __future__ import annotations

import asyncio

from events.accounts import BalanceChanged
from events.holds import FundsReleased
from events.ledger import TransferPosted
from shared.core.envelope import Envelope
from shared.ports.documents import Query
from shared.records.accounts import HOLDS
from tests.harness import Harness


async def posted_but_not_applied(
    harness: Harness, value: int, captured: int | None = None
) -> tuple[str, str, Envelope]:
    """Return the payer, the payee and the TransferPosted of a payment, which is not applied yet."""
    payer = (await harness.account(1000))["id"]
    payee = (await harness.account())["id"]
    payment = await harness.pay(payer, payee, value, capture="automatic" if captured is None else "manual")
    operations = ["accounts/hold_funds", "payments/authorize"]
    if captured is None:
        operations.append("ledger/post_transfer")
    position = 0
    for operation in operations:
        position = await harness.step(operation, position)
    if captured is not None:
        body = {"amount": {"value": captured, "currency": "BRL"}}
        assert (await harness.call("POST", f"/v1/payments/{payment['id']}/capture", body)).status == 200
        await harness.step("ledger/post_transfer", position)
    return payer, payee, next(event for event in harness.events[::-1] if event.type == TransferPosted.type)


async def test_a_transfer_changes_the_balances_and_ends_the_hold(harness: Harness) -> None:
    """The payer's held and posted amounts decrease in one commit, the payee's posted amount increases, and each
    change is published once."""
    payer, payee, posted = await posted_but_not_applied(harness, 300)
    assert await harness.balance(payer) == (1000, 300, 700)
    for _ in range(2):
        assert (await harness.deliver("accounts/apply_transfer", posted)).status == 204
    assert await harness.balance(payer) == (700, 0, 700)
    assert await harness.balance(payee) == (300, 0, 300)
    changes = [(fact.account_id, fact.change.value) for fact in harness.events_of(BalanceChanged)]
    assert changes[-2:] == [(payer, -300), (payee, 300)]
    [hold] = await harness.documents.find(HOLDS, "acme", Query())
    assert hold["status"] == "captured"
    assert harness.events_of(FundsReleased) == []


async def test_the_rest_of_a_partial_capture_is_released(harness: Harness) -> None:
    """The whole hold ends, and the release of the uncaptured part is published."""
    payer, payee, posted = await posted_but_not_applied(harness, 300, captured=120)
    assert (await harness.deliver("accounts/apply_transfer", posted)).status == 204
    assert await harness.balance(payer) == (880, 0, 880)
    assert await harness.balance(payee) == (120, 0, 120)
    [fact] = harness.events_of(FundsReleased)
    assert (fact.amount.value, fact.reason) == (180, "captured_in_part")


async def test_a_deposit_needs_no_hold(harness: Harness) -> None:
    """A deposit credits the account; the clearing account has its balance only in the ledger."""
    account = await harness.account(500)
    assert await harness.balance(account["id"]) == (500, 0, 500)
    assert [fact.account_id for fact in harness.events_of(BalanceChanged)] == [account["id"]]


async def test_one_merchant_receives_many_credits_at_once(crowded: Harness) -> None:
    """Fifty concurrent payments to one account are all credited, and none becomes a dead letter."""
    payers = [(await crowded.account(100))["id"] for _ in range(50)]
    merchant = (await crowded.account())["id"]
    for payer in payers:
        await crowded.pay(payer, merchant, 100)
    await crowded.run_events(together=True)
    assert crowded.undelivered == []
    assert await crowded.balance(merchant) == (5000, 0, 5000)


async def test_fifty_payments_of_one_real_out_of_ten(crowded: Harness) -> None:
    """Ten payments settle and forty are declined, in any order of the events, each delivered twice, and nothing stays
    held."""
    payer = (await crowded.account(1000))["id"]
    payee = (await crowded.account())["id"]
    payments = await asyncio.gather(*(crowded.pay(payer, payee, 100) for _ in range(50)))
    await crowded.run_events(times=2, shuffled=True, together=True)
    assert crowded.undelivered == []
    ends = [(await crowded.payment(payment["id"]))["status"] for payment in payments]
    assert (ends.count("settled"), ends.count("declined")) == (10, 40)
    assert await crowded.balance(payer) == (0, 0, 0)
    assert await crowded.balance(payee) == (1000, 0, 1000)


async def test_events_replayed_from_the_beginning_change_nothing(harness: Harness) -> None:
    """When all deliveries of a payment are repeated, balances, events and the statement do not change."""
    payer = (await harness.account(1000))["id"]
    payee = (await harness.account())["id"]
    await harness.pay(payer, payee, 300)
    await harness.run_events()
    count = len(harness.events)
    await harness.replay_all()
    assert len(harness.events) == count
    assert await harness.balance(payer) == (700, 0, 700)
    assert await harness.balance(payee) == (300, 0, 300)
