"""GET /v1/returns/{return_id}."""

from __future__ import annotations

from functions.providers._return_resource import DepositReturn, require_own_account, return_resource
from shared.context.context import Context
from shared.functions.decorators import http_function
from shared.records.returns import RETURNS


@http_function("GET /v1/returns/{return_id}", scope="deposits:read")
async def get_return(return_id: str, ctx: Context) -> DepositReturn:
    """Retrieve a return of a received payment."""
    document = await ctx.required(RETURNS, return_id)
    await require_own_account(ctx, document["account_id"], return_id)
    return return_resource(document)
