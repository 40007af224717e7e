"""lastro.account.funds_refused.v1: the payer's account cannot pay."""

from __future__ import annotations

from events.holds import FundsRefused
from functions.payments._decline import decline_payment
from functions.payments._states import may_change_to
from shared.context.context import Context
from shared.functions.decorators import event_function
from shared.records.payments import PAYMENTS


@event_function(FundsRefused)
async def decline(event: FundsRefused, ctx: Context) -> None:
    """Decline the payment with the failure reason of the accounts domain."""
    if event.cause_type != "payment":
        return
    payment = await ctx.referenced(PAYMENTS, event.cause_id, "/cause_id")
    if may_change_to(payment, "declined"):
        await decline_payment(ctx, payment, event.failure)
