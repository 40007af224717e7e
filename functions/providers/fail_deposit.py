"""lastro.ledger.transfer_refused.v1 of a deposit: its transfer will not be recorded."""

from __future__ import annotations

from events.ledger import TransferRefused
from functions.providers._deposit import end_as_failed
from functions.providers._states import require_deposit_change
from shared.context.context import Context
from shared.functions.decorators import event_function
from shared.records.deposits import DEPOSITS


@event_function(TransferRefused)
async def fail_deposit(event: TransferRefused, ctx: Context) -> None:
    """Fail the deposit whose transfer the ledger refused. The provider still has the money."""
    if event.cause_type != "deposit":
        return
    deposit = await ctx.referenced(DEPOSITS, event.cause_id, "/cause_id")
    if deposit["status"] == "failed":
        return
    require_deposit_change(deposit, "failed")
    ctx.log.warning("deposit %s was paid and is not in the ledger: %s", deposit["id"], event.failure.code)
    await end_as_failed(ctx, deposit, event.failure)
