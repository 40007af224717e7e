"""POST /v1/accounts/{account_id}/block → account.blocked."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from events.accounts import AccountBlocked
from functions.accounts._account import Account, account_resource
from functions.accounts._states import require_account_change
from shared.context.context import Context
from shared.core.problems import Problem
from shared.functions.decorators import http_function
from shared.http.models import Command, Description, NullIsDefault
from shared.records.accounts import ACCOUNTS, BlockMode


class BlockAccount(Command):
    """What the block stops, and why."""

    mode: Annotated[BlockMode, NullIsDefault()] = Field(
        default="debits",
        description="`debits`: money cannot leave the account. `all`: money cannot enter it either.",
    )
    reason: Description | None = Field(default=None, description="A reason. It is shown in the account.")


@http_function(
    "POST /v1/accounts/{account_id}/block",
    scope="accounts:write",
    empty_body_is_object=True,
    problems=("illegal_state",),
)
async def block_account(account_id: str, command: BlockAccount, ctx: Context) -> Account:
    """Block an account.

    The account must be active, or blocked in the other mode. New payments from it are declined as `account_blocked`;
    with the mode `all`, payments, refunds and deposits to it too. Amounts that are held already stay held, and their
    payments can be captured.
    """
    account = await ctx.required(ACCOUNTS, account_id)
    require_account_change(account, "blocked")
    if account["block_mode"] == command.mode:
        raise Problem("illegal_state", f"The account is blocked for {command.mode} already.")
    ctx.emit(AccountBlocked(account_id=account_id, mode=command.mode))
    blocked = ctx.update(
        ACCOUNTS,
        account,
        status="blocked",
        block_mode=command.mode,
        block_reason=command.reason,
        updated_at=ctx.now_text,
    )
    return account_resource(blocked, ctx.now_text)
