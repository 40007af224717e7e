"""Processing what a provider reports of a received payment: the payment itself, and its returns."""

from __future__ import annotations

from functions.providers._matching import process_receipt
from functions.providers._return import take_state
from shared.context.context import Context
from shared.context.tenant_work import run_in_tenant_unit_of_work
from shared.ports.rail import Receipt, ReturnState
from shared.records.charges import CHARGES
from shared.records.returns import RETURN_PREFIX, RETURNS


async def process_received(ctx: Context, provider: str, receipt: Receipt) -> None:
    """Process one reported payment and the states of its returns, each once. Raises what `process_receipt` raises."""
    await process_receipt(ctx, provider, receipt)
    for state in receipt.returns:
        await _process_return(ctx, provider, receipt, state)


async def _process_return(ctx: Context, provider: str, receipt: Receipt, state: ReturnState) -> None:
    charge = None if receipt.reference is None else await ctx.get(CHARGES, receipt.reference)
    return_id = f"{RETURN_PREFIX}_{state.reference}"
    if charge is None or charge["provider"] != provider:
        ctx.log.warning("%s reports the return %s of an unknown charge", provider, state.reference)
        return

    async def take(scope: Context) -> None:
        document = await scope.get(RETURNS, return_id)
        if document is None or document["end_to_end_id"] != receipt.id:
            scope.log.warning("%s reports the return %s, which was not made here", provider, state.reference)
            return
        await take_state(scope, document, state)

    cause_id = f"{provider}/{receipt.id}/{state.status}/{return_id}"
    await run_in_tenant_unit_of_work(
        ctx, charge["charged_tenant_id"], cause_id, take, correlation_id=charge["correlation_id"]
    )
