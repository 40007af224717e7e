"""account.funds_refused, ledger.transfer_refused of a return."""

from __future__ import annotations

from events.holds import FundsRefused
from events.ledger import TransferRefused
from functions.providers._fraud_hold import note_amount
from functions.providers._return import end_as_failed
from functions.providers._return_states import require_return_change
from shared.context.context import Context
from shared.core.problems import Problem
from shared.functions.decorators import event_function
from shared.records.returns import RETURNS


@event_function(FundsRefused, TransferRefused)
async def fail_return(event: FundsRefused | TransferRefused, ctx: Context) -> None:
    """Fail the return whose amount cannot be held. A report of fraud shows then that nothing is held.

    A transfer of a return is requested after the provider has returned the money, so its refusal does not undo that:
    the event becomes a dead letter, which an operator examines.
    """
    if event.cause_type != "return":
        return
    document = await ctx.referenced(RETURNS, event.cause_id, "/cause_id")
    if isinstance(event, TransferRefused):
        ctx.log.error("the return %s was made and is not in the ledger: %s", document["id"], event.failure.code)
        raise Problem("validation_failed", f"The ledger refuses the transfer of {document['id']}, which was made.")
    if document["status"] != "failed":
        require_return_change(document, "failed")
        await end_as_failed(ctx, document, event.failure)
        if document["nature"] == "fraud":
            await note_amount(ctx, document, 0)
