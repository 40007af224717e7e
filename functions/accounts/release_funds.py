"""payment.declined, payment.canceled, payment.expired, payment.failed, refund.failed → account.funds_released."""

from __future__ import annotations

from typing import Final, Literal

from events.holds import FundsReleased
from events.payments.base import PaymentEvent
from events.payments.canceled import PaymentCanceled
from events.payments.declined import PaymentDeclined
from events.payments.expired import PaymentExpired
from events.payments.failed import PaymentFailed
from events.refunds import RefundEvent, RefundFailed
from functions.accounts._holds import hold_request, new_hold
from functions.accounts._usage import give_back
from shared.context.context import Context
from shared.core.money import money
from shared.functions.decorators import event_function
from shared.records.accounts import ACCOUNTS, HOLDS

Reason = Literal["canceled", "expired", "failed"]
Ended = PaymentDeclined | PaymentCanceled | PaymentExpired | PaymentFailed | RefundFailed
"""The facts after which a hold is not needed."""

_REASONS: Final[dict[type[PaymentEvent | RefundEvent], Reason]] = {
    PaymentDeclined: "failed",
    PaymentCanceled: "canceled",
    PaymentExpired: "expired",
    PaymentFailed: "failed",
    RefundFailed: "failed",
}


@event_function(PaymentDeclined, PaymentCanceled, PaymentExpired, PaymentFailed, RefundFailed)
async def release_funds(event: Ended, ctx: Context) -> None:
    """Release the hold of a payment or refund that was declined or canceled, has expired or failed."""
    request = hold_request(event, ctx)
    hold = await ctx.get(HOLDS, request.hold_id)
    if hold is None:
        # The release arrived before the hold request. A tombstone is stored, so that the request will hold nothing.
        ctx.insert(HOLDS, new_hold(ctx, request, "released", amount=0))
        return
    if hold["status"] != "active":
        return
    ctx.change(ACCOUNTS, hold["account_id"], held=-hold["amount"])
    ctx.update(HOLDS, hold, status="released", updated_at=ctx.now_text)
    await give_back(ctx, hold, hold["amount"])
    ctx.emit(
        FundsReleased(
            account_id=hold["account_id"],
            hold_id=hold["id"],
            amount=money(hold["amount"], hold["currency"]),
            cause_type=request.cause_type,
            cause_id=request.cause_id,
            reason=_REASONS[type(event)],
        ),
        causetype=request.cause_type,
    )
