"""POST /v1/accounts/{account_id}/close."""

from __future__ import annotations

from functools import partial

from functions.accounts._account import Account, account_progress, account_resource
from functions.accounts._closing import close_or_wait
from shared.context.context import Context
from shared.context.tenant_work import run_in_tenant_unit_of_work
from shared.core.problems import Problem
from shared.functions.decorators import http_function
from shared.http.models import Command
from shared.records.accounts import ACCOUNTS


class CloseAccount(Command):
    """An object without fields, or no body at all."""


@http_function(
    "POST /v1/accounts/{account_id}/close",
    scope="accounts:write",
    empty_body_is_object=True,
    progress=account_progress,
    problems=("illegal_state",),
)
async def close_account(account_id: str, command: CloseAccount, ctx: Context) -> Account:
    """Close an active or blocked account whose balance is zero and which has no holds.

    While something is in progress to the account it is `closing`: it accepts no new payments, and a sweep closes it
    when everything has ended.
    """
    del command
    # `closing` is committed before the search: a payment or deposit that was committed until then is found, and none
    # can be committed later. With a single commit, a hold could be committed between the search and the closing.
    await run_in_tenant_unit_of_work(ctx, ctx.tenant_id, ctx.origin.cause_id, partial(_begin, account_id))
    account = await ctx.required(ACCOUNTS, account_id)
    # A concurrent request or the sweep may have ended the closing since.
    if account["status"] == "closing":
        account = await close_or_wait(ctx, account)
    return account_resource(account, ctx.now_text)


async def _begin(account_id: str, scope: Context) -> None:
    """Make the account `closing`. Raises Problem `not_found` or `illegal_state`."""
    account = await scope.required(ACCOUNTS, account_id)
    if account["status"] == "closed":
        raise Problem("illegal_state", "The account is closed already.")
    if account["status"] == "closing":
        return
    if account["posted"]:
        raise Problem("illegal_state", f"The account has a balance of {account['posted']} minor units.")
    if account["held"]:
        raise Problem("illegal_state", f"The account has {account['held']} minor units on hold.")
    scope.update(ACCOUNTS, account, status="closing", updated_at=scope.now_text)
