"""Payments over a rail: from the provider's outcome to the ledger, or to a review."""

from __future__ import annotations

from events.failure import Failure
from events.payments.base import PaymentEvent
from events.payments.posting_requested import PaymentPostingRequested
from events.payments.review_opened import PaymentReviewOpened
from events.payments.submitted import PaymentSubmitted
from functions.payments._payment import parties, update_payment
from functions.payments._states import require_change
from shared.context import saga
from shared.context.context import Context
from shared.core.money import money
from shared.core.problems import Problem
from shared.records.payments import PaymentDocument, RailPartDocument


def rail_part(payment: PaymentDocument) -> RailPartDocument:
    """Return what a payment over a rail has in addition. Raises Problem `validation_failed` for another payment."""
    part = payment.get("rail")
    if part is None:
        raise Problem("validation_failed", f"{payment['id']} is not a payment over a rail.")
    return part


def submitted_fact(payment: PaymentDocument, end_to_end_id: str) -> PaymentSubmitted:
    """Return the fact that the provider has the payment."""
    return PaymentSubmitted(**parties(payment), method=payment["method"], end_to_end_id=end_to_end_id)


def posting_requested_fact(payment: PaymentDocument, attempt: int) -> PaymentPostingRequested:
    """Return the fact that requests the transfer of a payment that the provider has made. Each attempt publishes it
    again, with the same transfer id."""
    captured, moved = payment["capture_amount"], rail_part(payment)["amount_moved"]
    assert captured is not None, "a payment is captured before the provider makes it"
    assert moved is not None, "a transfer is requested when the provider has moved the money"
    return PaymentPostingRequested(
        **parties(payment),
        transfer_id=payment["transfer_id"],
        amount_captured=money(captured, payment["currency"]),
        amount_moved=money(moved, payment["currency"]),
        description=payment["description"],
        attempt=attempt,
    )


async def request_posting(
    ctx: Context, payment: PaymentDocument, part: RailPartDocument, amount: int, *before: PaymentEvent
) -> PaymentDocument:
    """Request the transfer from the ledger: `amount` minor units from the payer.

    The status is processing afterwards, or review as before. The fact is not in the timeline. `before` are facts that
    the same commit publishes first.
    """
    due_at = await saga.begin(ctx, "payment", payment["id"])
    changed = update_payment(
        ctx,
        payment,
        *before,
        status="review" if payment["status"] == "review" else "processing",
        capture_amount=amount,
        rail={**part, "is_posted": True},
        attempt=1,
        due_at=due_at,
    )
    ctx.emit(posting_requested_fact(changed, attempt=1))
    return changed


async def open_review(
    ctx: Context, payment: PaymentDocument, part: RailPartDocument, reason: Failure, *before: PaymentEvent
) -> None:
    """Leave the payment to an operator; its funds stay held. `part` has the amount that the provider has moved.

    Raises Problem `illegal_state` when the present status does not allow it.
    """
    if payment["status"] != "capturing":  # it passes through processing, in the same commit
        require_change(payment, "review")
    assert part["end_to_end_id"] is not None, "a review begins with a report of the provider"
    fact = PaymentReviewOpened(
        **parties(payment),
        end_to_end_id=part["end_to_end_id"],
        amount_moved=money(part["amount_moved"] or 0, payment["currency"]),
        reason=reason,
    )
    await saga.end(ctx, "payment", payment["id"])
    update_payment(ctx, payment, *before, fact, status="review", rail={**part, "is_posted": False}, due_at=None)


async def drive_rail_payment(ctx: Context, payment: PaymentDocument, attempt: int) -> None:
    """Begin the next attempt of a payment that is with the provider or the ledger.

    The transfer of a payment that the provider has made is requested again. Otherwise the providers domain asks the
    provider for the payment, on the same fact as this function.
    """
    if payment["status"] not in ("capturing", "processing", "review"):
        return
    due_at = await saga.begin(ctx, "payment", payment["id"], attempt)
    changed = update_payment(ctx, payment, attempt=attempt, due_at=due_at)
    if rail_part(changed)["is_posted"]:
        ctx.emit(posting_requested_fact(changed, attempt))
