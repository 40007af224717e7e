"""lastro.account.funds_held.v1: the payer's funds are held."""

from __future__ import annotations

from events.holds import FundsHeld
from events.payments.authorized import PaymentAuthorized
from functions.payments._capture import begin_capture
from functions.payments._decline import decline_payment
from functions.payments._payee import payee_failure
from functions.payments._payment import parties, transition
from functions.payments._states import may_change_to
from shared.context import saga
from shared.context.context import Context
from shared.functions.decorators import event_function
from shared.records.accounts import ACCOUNTS
from shared.records.payments import PAYMENTS


@event_function(FundsHeld)
async def authorize(event: FundsHeld, ctx: Context) -> None:
    """Authorize the payment whose funds are held. With automatic capture, request its transfer in the same commit.

    The payment is declined when the payee's account has begun to close. A payment that was canceled or has expired
    meanwhile does not change. On each of these facts accounts releases the hold.
    """
    if event.cause_type != "payment":
        return
    await ctx.load((PAYMENTS, event.cause_id), (ACCOUNTS, event.counterparty_account_id))
    payment = await ctx.referenced(PAYMENTS, event.cause_id, "/cause_id")
    if not may_change_to(payment, "authorized"):
        return
    failure = await payee_failure(ctx, payment["payee_account_id"])
    if failure is not None:
        await decline_payment(ctx, payment, failure)
        return
    fact = PaymentAuthorized(**parties(payment), expires_at=payment["expires_at"])
    if payment["capture"] == "automatic":
        await begin_capture(ctx, payment, payment["amount"], fact)
    else:
        await saga.end(ctx, "payment", payment["id"])
        await transition(ctx, payment, "authorized", fact, due_at=None)
