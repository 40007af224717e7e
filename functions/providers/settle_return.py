"""lastro.ledger.transfer_posted.v1 of a return: its transfer is recorded."""

from __future__ import annotations

from events.ledger import TransferPosted
from functions.providers._return import end_as_settled
from functions.providers._return_states import require_return_change
from shared.context.context import Context
from shared.core.problems import Problem
from shared.functions.decorators import event_function
from shared.records.returns import RETURNS


@event_function(TransferPosted)
async def settle_return(event: TransferPosted, ctx: Context) -> None:
    """Settle the return whose transfer the ledger has recorded."""
    if event.cause_type != "return":
        return
    document = await ctx.referenced(RETURNS, event.cause_id, "/cause_id")
    if document["status"] == "settled":
        return
    if event.transfer_id != document["transfer_id"]:
        raise Problem("validation_failed", f"{event.transfer_id} is not the transfer of {document['id']}.")
    require_return_change(document, "settled")
    await end_as_settled(ctx, document)
