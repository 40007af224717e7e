"""lastro.ledger.transfer_posted.v1 of a refund: its transfer is recorded."""

from __future__ import annotations

from events.ledger import TransferPosted
from events.refunds import RefundSettled
from functions.payments._refund import end_refund, refund_parties
from shared.context.context import Context
from shared.core.problems import Problem
from shared.functions.decorators import event_function
from shared.records.payments import REFUNDS


@event_function(TransferPosted)
async def settle_refund(event: TransferPosted, ctx: Context) -> None:
    """Settle the refund whose transfer the ledger has recorded."""
    if event.cause_type != "refund":
        return
    refund = await ctx.referenced(REFUNDS, event.cause_id, "/cause_id")
    if refund["status"] == "settled":
        return
    if event.transfer_id != refund["transfer_id"]:
        raise Problem("validation_failed", f"{event.transfer_id} is not the transfer of {refund['id']}.")
    await end_refund(ctx, refund, "settled", RefundSettled(**refund_parties(refund), transfer_id=event.transfer_id))
