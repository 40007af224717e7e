"""Facts that end a payment, refund or return without its money → account.funds_released."""

from __future__ import annotations

from typing import Final

from events.holds import ReleaseReason
from events.payments.base import PaymentEvent
from events.payments.canceled import PaymentCanceled
from events.payments.declined import PaymentDeclined
from events.payments.expired import PaymentExpired
from events.payments.failed import PaymentFailed
from events.refunds import RefundEvent, RefundFailed
from events.returns import ReturnEvent, ReturnFailed
from functions.accounts._holds import hold_request, new_hold, publish_released, return_hold_request
from functions.accounts._usage import give_back
from shared.context.context import Context
from shared.functions.decorators import event_function
from shared.records.accounts import ACCOUNTS, HOLDS
from shared.records.system_accounts import is_system_account

Ended = PaymentDeclined | PaymentCanceled | PaymentExpired | PaymentFailed | RefundFailed | ReturnFailed
"""The facts after which a hold is not needed."""

_REASONS: Final[dict[type[PaymentEvent | RefundEvent | ReturnEvent], ReleaseReason]] = {
    PaymentDeclined: "failed",
    PaymentCanceled: "canceled",
    PaymentExpired: "expired",
    PaymentFailed: "failed",
    RefundFailed: "failed",
    ReturnFailed: "failed",
}


@event_function(PaymentDeclined, PaymentCanceled, PaymentExpired, PaymentFailed, RefundFailed, ReturnFailed)
async def release_funds(event: Ended, ctx: Context) -> None:
    """Release the hold of a payment, refund or return that was declined or canceled, has expired or failed.

    The hold of a card payment is the issuer's: on the fact of its release the providers domain gives it back.
    """
    if isinstance(event, ReturnFailed):
        if is_system_account(event.account_id):
            return
        request = return_hold_request(event, ctx)
    else:
        request = hold_request(event, ctx)
    hold = await ctx.get(HOLDS, request.hold_id)
    if hold is None:
        # The release arrived before the hold request. A tombstone is stored, so that the request will hold nothing.
        hold = ctx.insert(HOLDS, new_hold(ctx, request, "released", amount=0))
        if is_system_account(hold["account_id"]):
            # The issuer of a card may hold the amount already.
            publish_released(ctx, hold, 0, _REASONS[type(event)])
        return
    if hold["status"] != "active":
        return
    ctx.update(HOLDS, hold, status="released", updated_at=ctx.now_text)
    if is_system_account(hold["account_id"]):
        publish_released(ctx, hold, hold["amount"], _REASONS[type(event)])
        return
    ctx.change(ACCOUNTS, hold["account_id"], held=-hold["amount"])
    await give_back(ctx, hold, hold["amount"])
    publish_released(ctx, hold, hold["amount"], _REASONS[type(event)])
