"""The state machine: the changes in the design are legal, and no others."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from events.failure import Failure
from events.holds import FundsHeld, FundsRefused
from events.ledger import TransferPosted, TransferRefused
from events.sweeps import HoldExpired
from functions.payments._states import PAYMENT_CHANGES, REFUND_CHANGES
from shared.core.envelope import Event
from shared.core.money import Money
from shared.records.payments import PAYMENTS, PaymentStatus, RefundStatus
from tests.functions.payments.story import story
from tests.harness import Harness

LEGAL = {
    "created": {"authorized", "declined", "canceled", "expired"},
    "authorized": {"capturing", "canceled", "expired"},
    "capturing": {"processing", "settled", "failed"},
    "processing": {"settled", "failed", "review"},
    "review": {"settled", "failed"},
}
STATUSES: tuple[PaymentStatus, ...] = get_args(PaymentStatus)
REFUND_STATUSES: tuple[RefundStatus, ...] = get_args(RefundStatus)


@pytest.mark.parametrize("status", STATUSES)
def test_the_legal_changes_of_a_payment_are_those_of_the_design(status: PaymentStatus) -> None:
    """A payment changes from each status only to those of the design, and never from a terminal one."""
    assert PAYMENT_CHANGES[status] == LEGAL.get(status, set())


@pytest.mark.parametrize("status", REFUND_STATUSES)
def test_the_legal_changes_of_a_refund_are_those_of_the_design(status: RefundStatus) -> None:
    """A refund changes from created to processing, and from both to settled or failed, which are final."""
    legal = {"created": {"processing", "settled", "failed"}, "processing": {"settled", "failed"}}
    assert REFUND_CHANGES[status] == legal.get(status, set())


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize(
    ("action", "allowed"),
    [("capture", {"authorized"}), ("cancel", {"created", "authorized"}), ("refunds", {"settled"})],
)
async def test_an_action_in_a_state_that_does_not_allow_it_changes_nothing(
    harness: Harness, status: PaymentStatus, action: str, allowed: set[str]
) -> None:
    """An action is accepted in the statuses that allow it; in any other it is 409 `illegal_state` and changes and
    publishes nothing."""
    begun = await story(harness)
    payment_id = (await harness.pay(begun.payer, begun.payee, 1000))["id"]
    await begun.put(payment_id, status=status, amount_captured=1000 if status == "settled" else 0)
    before, events = await harness.documents.get(PAYMENTS, "acme", payment_id), len(harness.events)
    answer = await begun.act(payment_id, action)
    if status in allowed:
        assert answer.status in (200, 201)
    else:
        assert (answer.status, answer.code) == (409, "illegal_state")
        assert await harness.documents.get(PAYMENTS, "acme", payment_id) == before
        assert len(harness.events) == events


def _event(kind: str, payment: Any) -> Event:
    amount = Money(value=payment["amount"], currency="BRL")
    failure = Failure(code="insufficient_funds", detail="Not enough.")
    about = {"account_id": payment["payer_account_id"], "payment_id": payment["id"]}
    cause = {"cause_type": "payment", "cause_id": payment["id"]}
    if kind == "authorize":
        other = payment["payee_account_id"]
        return FundsHeld(**about, **cause, hold_id="hld_1", amount=amount, counterparty_account_id=other)
    if kind == "decline":
        return FundsRefused(**about, **cause, amount=amount, failure=failure)
    if kind == "expire":
        return HoldExpired(**about, hold_id="hld_1", expires_at=payment["expires_at"])
    if kind == "fail":
        return TransferRefused(transfer_id=payment["transfer_id"], **cause, failure=failure)
    posted = {"legs": (), "recorded_at": payment["created_at"], "payment_id": payment["id"], "description": None}
    return TransferPosted(transfer_id=payment["transfer_id"], **cause, **posted)


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize(
    ("reaction", "allowed", "outcome"),
    [
        ("authorize", {"created"}, "capturing"),
        ("decline", {"created"}, "declined"),
        ("expire", {"created", "authorized"}, "expired"),
        ("settle", {"capturing", "processing", "review"}, "settled"),
        ("fail", {"capturing", "processing", "review"}, "failed"),
    ],
)
async def test_an_event_changes_a_payment_only_where_the_status_allows_it(
    harness: Harness, status: PaymentStatus, reaction: str, allowed: set[str], outcome: str
) -> None:
    """An event that arrives in a status that does not allow its change leaves the payment unchanged."""
    begun = await story(harness)
    payment_id = (await harness.pay(begun.payer, begun.payee, 1000))["id"]
    await begun.put(payment_id, status=status, capture_amount=1000)
    before = await harness.documents.get(PAYMENTS, "acme", payment_id)
    delivery = await harness.deliver(f"payments/{reaction}", harness.envelope(_event(reaction, before)))
    after = await harness.documents.get(PAYMENTS, "acme", payment_id)
    assert after is not None
    if status in allowed:
        assert (delivery.status, after["status"]) == (204, outcome)
        assert (after["due_at"] is None) == (outcome != "capturing")
    else:
        assert after == before
        # An event that contradicts the ledger is not acknowledged: it is parked for an operator.
        contradiction = reaction in ("settle", "fail") and status != outcome
        assert delivery.status == (409 if contradiction else 204)


@pytest.mark.parametrize("reaction", ["authorize", "decline", "expire", "settle", "fail"])
async def test_an_event_about_an_unknown_payment_is_refused_for_good(harness: Harness, reaction: str) -> None:
    """An event about an unknown payment becomes a dead letter without retries, because a payment is stored before its
    events."""
    ghost = {
        "id": "pay_ghost",
        "amount": 1,
        "payer_account_id": "acc_1",
        "payee_account_id": "acc_2",
        "transfer_id": "ltr_1",
        "expires_at": "2026-01-01T00:00:00.000000Z",
        "created_at": "2026-01-01T00:00:00.000000Z",
    }
    delivery = await harness.deliver(f"payments/{reaction}", harness.envelope(_event(reaction, ghost)))
    assert delivery.status == 422
    assert delivery.headers["Kne-Code"] == "unknown_reference"
