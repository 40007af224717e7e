"""GET /v1/ledger/transfers/{transfer_id}."""

from __future__ import annotations

from functions.ledger._transfer import LedgerTransfer, transfer_resource
from shared.context.context import Context
from shared.core.problems import Problem
from shared.functions.decorators import http_function


@http_function("GET /v1/ledger/transfers/{transfer_id}", scope="ledger:read")
async def get_transfer(transfer_id: str, ctx: Context) -> LedgerTransfer:
    """Retrieve a transfer with its legs.

    Debits and credits are checked to be equal when the transfer is read.
    """
    transfer = await ctx.ledger.transfer(ctx.tenant_id, transfer_id)
    if transfer is None:
        raise Problem("not_found", f"There is no {transfer_id}.")
    return transfer_resource(transfer)
