"""POST /v1/accounts/{account_id}/unblock → account.unblocked."""

from __future__ import annotations

from events.accounts import AccountUnblocked
from functions.accounts._account import Account, account_resource
from functions.accounts._states import require_account_change
from shared.context.context import Context
from shared.functions.decorators import http_function
from shared.http.models import Command
from shared.records.accounts import ACCOUNTS


class UnblockAccount(Command):
    """An object without fields, or no body at all."""


@http_function(
    "POST /v1/accounts/{account_id}/unblock",
    scope="accounts:write",
    empty_body_is_object=True,
    problems=("illegal_state",),
)
async def unblock_account(account_id: str, command: UnblockAccount, ctx: Context) -> Account:
    """Unblock an account.

    The account must be blocked. It is active afterwards. Payments that were declined meanwhile stay declined.
    """
    del command
    account = await ctx.required(ACCOUNTS, account_id)
    require_account_change(account, "active")
    ctx.emit(AccountUnblocked(account_id=account_id))
    active = ctx.update(ACCOUNTS, account, status="active", block_mode=None, block_reason=None, updated_at=ctx.now_text)
    return account_resource(active, ctx.now_text)
