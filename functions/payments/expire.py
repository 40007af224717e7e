"""lastro.account.hold_expired.v1: the hold of a payment has expired."""

from __future__ import annotations

from events.payments.expired import PaymentExpired
from events.sweeps import HoldExpired
from functions.payments._payment import parties, transition
from functions.payments._states import may_change_to
from shared.context.context import Context
from shared.functions.decorators import event_function
from shared.records.payments import PAYMENTS


@event_function(HoldExpired)
async def expire(event: HoldExpired, ctx: Context) -> None:
    """Expire the payment of the hold, unless its capture is in progress or it has ended."""
    payment = await ctx.referenced(PAYMENTS, event.payment_id, "/payment_id")
    if may_change_to(payment, "expired"):
        await transition(ctx, payment, "expired", PaymentExpired(**parties(payment)))
