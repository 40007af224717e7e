"""pix.payment_sent → payment.submitted: the provider of a payment's rail has it."""

from __future__ import annotations

from events.rail_payments import SENT, RailPaymentSent
from functions.payments._payment import update_payment
from functions.payments._rail import rail_part, submitted_fact
from shared.context import saga
from shared.context.context import Context
from shared.functions.decorators import event_function
from shared.records.payments import PAYMENTS


@event_function(*SENT)
async def submit(event: RailPaymentSent, ctx: Context) -> None:
    """Change the payment to `processing`. One that has an outcome already stays as it is."""
    payment = await ctx.referenced(PAYMENTS, event.payment_id, "/payment_id")
    if payment["status"] != "capturing":
        return
    part = rail_part(payment)
    due_at = await saga.begin(ctx, "payment", payment["id"])
    update_payment(
        ctx,
        payment,
        submitted_fact(payment, event.end_to_end_id),
        status="processing",
        rail={**part, "end_to_end_id": event.end_to_end_id},
        attempt=1,
        due_at=due_at,
    )
