"""lastro.ledger.transfer_refused.v1 of a deposit: its transfer will not be recorded."""

from __future__ import annotations

from events.deposits import DepositFailed
from events.ledger import TransferRefused
from functions.providers._deposit import deposit_parts, end_deposit
from shared.context.context import Context
from shared.functions.decorators import event_function
from shared.records.deposits import DEPOSITS
from shared.records.failure import failure_document


@event_function(TransferRefused)
async def fail_deposit(event: TransferRefused, ctx: Context) -> None:
    """Fail the deposit whose transfer the ledger refused. The provider still has the money."""
    if event.cause_type != "deposit":
        return
    deposit = await ctx.referenced(DEPOSITS, event.cause_id, "/cause_id")
    if deposit["status"] == "failed":
        return
    ctx.log.warning("deposit %s was paid and is not in the ledger: %s", deposit["id"], event.failure.code)
    fact = DepositFailed(**deposit_parts(deposit), failure=event.failure)
    failure = failure_document(event.failure.code, event.failure.detail)
    await end_deposit(ctx, deposit, "failed", fact, failure=failure)
