"""The holds of card payments, which are with the issuers of the cards."""

from __future__ import annotations

from events.cards import CardAuthorized, CardDeclined
from functions.accounts._holds import (
    HoldRequest,
    hold_id,
    new_hold,
    publish_again,
    publish_held,
    publish_refused,
    publish_released,
)
from shared.context.context import Context
from shared.records.accounts import HOLDS


async def hold_at_issuer(ctx: Context, event: CardAuthorized | CardDeclined) -> None:
    """Store the hold of a card payment as the issuer has decided, and publish it.

    The hold is on the clearing account of the gateway, and changes no balance. It expires with the authorization, and
    the closing of the payee's account waits for it. When the payment has ended before, the issuer's hold is released.
    """
    request = HoldRequest(
        hold_id=hold_id(ctx, event.payment_id),
        cause_type="payment",
        cause_id=event.payment_id,
        payment_id=event.payment_id,
        account_id=event.payer_account_id,
        counterparty_account_id=event.payee_account_id,
        amount=event.amount.value,
        currency=event.amount.currency,
        expires_at=event.expires_at if isinstance(event, CardAuthorized) else None,
    )
    hold = await ctx.get(HOLDS, request.hold_id)
    if hold is not None:
        publish_again(ctx, request, hold)
        if hold["status"] == "released" and isinstance(event, CardAuthorized):
            publish_released(ctx, hold, request.amount, "canceled")
    elif isinstance(event, CardDeclined):
        ctx.insert(HOLDS, new_hold(ctx, request, "refused", amount=0, failure=event.failure))
        publish_refused(ctx, request, event.failure)
    else:
        ctx.insert(HOLDS, new_hold(ctx, request, "active", amount=request.amount))
        publish_held(ctx, request)
