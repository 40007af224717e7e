"""POST /v1/accounts/{account_id}/close."""

from __future__ import annotations

from functions.accounts._account import Account, account_progress, account_resource
from functions.accounts._closing import close_or_wait
from shared.context.context import Context
from shared.core.problems import Problem
from shared.functions.decorators import http_function
from shared.http.models import Command
from shared.records.accounts import ACCOUNTS


class CloseAccount(Command):
    """An empty object."""


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
    account = await ctx.required(ACCOUNTS, account_id)
    if account["status"] == "closed":
        raise Problem("illegal_state", "The account is closed already.")
    if account["status"] != "closing":
        if account["posted"]:
            raise Problem("illegal_state", f"The account has a balance of {account['posted']} minor units.")
        if account["held"]:
            raise Problem("illegal_state", f"The account has {account['held']} minor units on hold.")
    return account_resource(await close_or_wait(ctx, account))
