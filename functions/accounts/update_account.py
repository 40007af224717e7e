"""PATCH /v1/accounts/{account_id}."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from functions.accounts._account import Account, account_resource
from functions.accounts._limit_values import LimitValues
from functions.accounts._limits import changed_limits
from functions.accounts._usage import counted_anew
from shared.context.context import Context
from shared.core.money import MAX_MINOR_UNITS
from shared.core.problems import Problem
from shared.functions.decorators import http_function
from shared.http.models import METADATA, Command, Metadata
from shared.records.accounts import ACCOUNTS, CLOSED


class UpdateAccount(Command):
    """The fields to change. A field that is absent stays as it is."""

    overdraft_limit: Annotated[int, Field(ge=0, le=MAX_MINOR_UNITS)] | None = Field(
        default=None,
        description="How far the balance may go below zero, in minor units of the currency. Null changes nothing.",
    )
    limits: LimitValues | None = Field(
        default=None,
        description="Limits of the payments from the account. A reduction is in force at once, a raise and a removal "
        "after 24 hours. A limit that is absent stays as it is. Null changes nothing.",
    )
    metadata: Metadata | None = Field(
        default=None, description=f"{METADATA} It replaces all of the present metadata. Null removes it."
    )


@http_function("PATCH /v1/accounts/{account_id}", scope="accounts:write", problems=("illegal_state",))
async def update_account(account_id: str, command: UpdateAccount, ctx: Context) -> Account:
    """Change the limits, the overdraft limit or the metadata of an account.

    Limits count what is held and paid since the account has limits; what is canceled or not captured counts no more.
    The overdraft limit cannot be less than what the account uses of it.
    """
    account = await ctx.required(ACCOUNTS, account_id)
    if account["status"] in CLOSED:
        raise Problem("illegal_state", f"The account is {account['status']} and cannot be changed.")
    overdraft = account["overdraft_limit"] if command.overdraft_limit is None else command.overdraft_limit
    needed = account["held"] - account["posted"]
    if overdraft < account["overdraft_limit"] and overdraft < needed:
        raise Problem("illegal_state", f"The account uses {needed} minor units of its overdraft.")
    limits = account.get("limits")
    if command.limits is not None:
        limits = changed_limits(limits, command.limits.given(), ctx.now)
    metadata = command.metadata if "metadata" in command.model_fields_set else account["metadata"]
    before = (account["overdraft_limit"], account.get("limits"), account["metadata"])
    if before == (overdraft, limits, metadata):
        return account_resource(account, ctx.now_text)
    if limits != account.get("limits"):
        await counted_anew(ctx, account_id)
    changed = ctx.update(
        ACCOUNTS,
        account,
        overdraft_limit=overdraft,
        limits=limits,
        metadata=metadata,
        updated_at=ctx.now_text,
    )
    return account_resource(changed, ctx.now_text)
