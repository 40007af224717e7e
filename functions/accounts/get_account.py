"""GET /v1/accounts/{account_id}."""

from __future__ import annotations

from functions.accounts._account import Account, account_resource
from shared.context.context import Context
from shared.context.persons import required_account
from shared.functions.decorators import http_function


@http_function("GET /v1/accounts/{account_id}", scope="accounts:read")
async def get_account(account_id: str, ctx: Context) -> Account:
    """Retrieve an account."""
    return account_resource(await required_account(ctx, account_id), ctx.now_text)
