"""GET /v1/deposits/{deposit_id}."""

from __future__ import annotations

from functions.providers._deposit_resource import Deposit, deposit_resource
from shared.context.context import Context
from shared.context.persons import owns_one_of, person_of
from shared.core.problems import Problem
from shared.functions.decorators import http_function
from shared.records.deposits import DEPOSITS


@http_function("GET /v1/deposits/{deposit_id}", scope="deposits:read")
async def get_deposit(deposit_id: str, ctx: Context) -> Deposit:
    """Retrieve a deposit."""
    deposit = await ctx.required(DEPOSITS, deposit_id)
    person = person_of(ctx)
    if person is not None and not await owns_one_of(ctx, person, deposit["account_id"]):
        raise Problem("not_found", f"There is no {deposit_id}.")
    return deposit_resource(deposit)
