"""GET /v1/accounts/{account_id}."""

from __future__ import annotations

from functions.accounts._account import Account, account_resource
from shared.context.context import Context
from shared.functions.decorators import http_function
from shared.records.accounts import ACCOUNTS


@http_function("GET /v1/accounts/{account_id}", scope="accounts:read")
async def get_account(account_id: str, ctx: Context) -> Account:
    """Retrieve an account."""
    return account_resource(await ctx.required(ACCOUNTS, account_id))
