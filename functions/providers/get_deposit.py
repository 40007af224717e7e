"""GET /v1/deposits/{deposit_id}."""

from __future__ import annotations

from functions.providers._deposit_resource import Deposit, deposit_resource
from shared.context.context import Context
from shared.functions.decorators import http_function
from shared.records.deposits import DEPOSITS


@http_function("GET /v1/deposits/{deposit_id}", scope="deposits:read")
async def get_deposit(deposit_id: str, ctx: Context) -> Deposit:
    """Retrieve a deposit."""
    return deposit_resource(await ctx.required(DEPOSITS, deposit_id))
