"""account.funds_refused, ledger.transfer_refused of a refund → refund.failed."""

from __future__ import annotations

from events.holds import FundsRefused
from events.ledger import TransferRefused
from functions.payments._refund import end_as_failed
from shared.context.context import Context
from shared.functions.decorators import event_function
from shared.records.payments import REFUNDS


@event_function(FundsRefused, TransferRefused)
async def fail_refund(event: FundsRefused | TransferRefused, ctx: Context) -> None:
    """Fail the refund with the failure reason of the event. Its amount may be refunded again."""
    if event.cause_type != "refund":
        return
    refund = await ctx.referenced(REFUNDS, event.cause_id, "/cause_id")
    if refund["status"] != "failed":
        await end_as_failed(ctx, refund, event.failure)
