"""account.funds_released of a card payment: its authorization is given back to the card."""

from __future__ import annotations

from events.holds import FundsReleased
from functions.providers._card import mark_ended
from shared.context.context import Context
from shared.functions.decorators import event_function
from shared.ports.rail import RailRefused
from shared.records.card_payments import CARD_PAYMENTS


@event_function(FundsReleased)
async def void_card(event: FundsReleased, ctx: Context) -> None:
    """Cancel the authorization of a payment that was canceled, declined, has expired or failed.

    The gateway is asked by our id first. A payment that it does not know, or that it has captured, stays as it is. If
    it does not answer, Problem `dependency_unavailable` (503) has the fact delivered again.
    """
    if event.cause_type != "payment":
        return
    known = await ctx.get(CARD_PAYMENTS, event.cause_id)
    if known is None or known["status"] in ("declined", "canceled", "expired"):
        return
    found = await ctx.card_gateway.payment(event.cause_id)
    if found is None or found.capture is not None:
        return
    if found.status in ("pending", "authorized"):
        try:
            found = await ctx.card_gateway.cancel(found.id, event.cause_id)
        except RailRefused as refusal:
            ctx.log.warning("the card gateway did not cancel %s: %s: %s", event.cause_id, refusal.code, refusal)
            return
    mark_ended(ctx, known, found)
