"""pix.payment_confirmed → payment.posting_requested | payment.review_opened: the provider has made a payment."""

from __future__ import annotations

from events.failure import Failure
from events.payments.submitted import PaymentSubmitted
from events.rail_payments import CONFIRMED, RailPaymentConfirmed
from functions.payments._rail import open_review, posting_requested_fact, rail_part, request_posting, submitted_fact
from shared.context.context import Context
from shared.core.problems import Problem
from shared.functions.decorators import event_function
from shared.records.payments import PAYMENTS, PaymentDocument, RailPartDocument


@event_function(*CONFIRMED)
async def confirm(event: RailPaymentConfirmed, ctx: Context) -> None:
    """Request the transfer of a payment that the provider has made, or leave it to an operator when it has moved
    another amount.

    A repeated fact requests the same transfer again. Problem `illegal_state` makes the fact a dead letter when the
    payment has failed: the provider has moved money that it had refused to move.
    """
    payment = await ctx.referenced(PAYMENTS, event.payment_id, "/payment_id")
    part = rail_part(payment)
    if payment["status"] == "settled" or (payment["status"] == "review" and not part["is_posted"]):
        return
    if payment["status"] not in ("capturing", "processing", "review"):
        raise Problem("illegal_state", f"The provider has made {payment['id']}, which is {payment['status']}.")
    if part["is_posted"]:
        ctx.emit(posting_requested_fact(payment, payment["attempt"]))
        return
    moved = event.amount_moved
    known: RailPartDocument = {**part, "end_to_end_id": event.end_to_end_id, "amount_moved": moved.value}
    before = _submitted(payment, event.end_to_end_id)
    amount = payment["capture_amount"]
    if (moved.value, moved.currency) == (amount, payment["currency"]):
        await request_posting(ctx, payment, known, moved.value, *before)
        return
    detail = f"The provider has moved {moved.value} {moved.currency}, and {amount} {payment['currency']} were ordered."
    await open_review(ctx, payment, known, Failure(code="amount_differs", detail=detail), *before)


def _submitted(payment: PaymentDocument, end_to_end_id: str) -> list[PaymentSubmitted]:
    """Return the fact that the provider has the payment, where the outcome has come before it."""
    return [submitted_fact(payment, end_to_end_id)] if payment["status"] == "capturing" else []
