"""lastro.ledger.transfer_posted.v1 of a deposit: its transfer is recorded."""

from __future__ import annotations

from events.deposits import DepositSettled
from events.ledger import TransferPosted
from functions.providers._deposit import deposit_parts, end_deposit
from functions.providers._pix_charge import settle_pix_charge
from functions.providers._states import require_deposit_change
from shared.context.context import Context
from shared.core.problems import Problem
from shared.functions.decorators import event_function
from shared.records.deposits import DEPOSITS


@event_function(TransferPosted)
async def settle_deposit(event: TransferPosted, ctx: Context) -> None:
    """Settle the deposit whose transfer the ledger has recorded. A PIX charge that it pays becomes `paid`."""
    if event.cause_type != "deposit":
        return
    deposit = await ctx.referenced(DEPOSITS, event.cause_id, "/cause_id")
    if deposit["status"] == "settled":
        return
    if event.transfer_id != deposit["transfer_id"]:
        raise Problem("validation_failed", f"{event.transfer_id} is not the transfer of {deposit['id']}.")
    require_deposit_change(deposit, "settled")
    fact = DepositSettled(**deposit_parts(deposit), transfer_id=event.transfer_id)
    await end_deposit(ctx, deposit, "settled", fact)
    await settle_pix_charge(ctx, deposit)
