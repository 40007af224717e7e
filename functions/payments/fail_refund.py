"""account.funds_refused, ledger.transfer_refused, card.refund_refused of a refund → refund.failed."""

from __future__ import annotations

from events.cards import CardRefundRefused
from events.holds import FundsRefused
from events.ledger import TransferRefused
from functions.payments._refund import end_as_failed
from shared.context.context import Context
from shared.functions.decorators import event_function
from shared.records.payments import REFUNDS


@event_function(FundsRefused, TransferRefused, CardRefundRefused)
async def fail_refund(event: FundsRefused | TransferRefused | CardRefundRefused, ctx: Context) -> None:
    """Fail the refund with the failure reason of the event. Its amount may be refunded again."""
    if isinstance(event, CardRefundRefused):
        refund = await ctx.referenced(REFUNDS, event.refund_id, "/refund_id")
    elif event.cause_type != "refund":
        return
    else:
        refund = await ctx.referenced(REFUNDS, event.cause_id, "/cause_id")
    if refund["status"] != "failed":
        await end_as_failed(ctx, refund, event.failure)
