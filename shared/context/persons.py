"""What a person's token (claim `user_id`) may see and use: only what is that user's.

A token of a service has no `user_id` and sees the whole tenant. What belongs to another user is answered as what does
not exist.
"""

from __future__ import annotations

from shared.context.context import Context
from shared.core.problems import Problem
from shared.records.accounts import ACCOUNTS, AccountDocument


def person_of(ctx: Context) -> str | None:
    """Return the id of the user in whose name the request is made, or None for a service and for the platform."""
    return None if ctx.caller is None else ctx.caller.user_id


def require_own(ctx: Context, owner_id: str, id: str) -> None:
    """Raise Problem `not_found` for `id` when the caller is another person than its owner."""
    person = person_of(ctx)
    if person is not None and person != owner_id:
        raise Problem("not_found", f"There is no {id}.")


async def required_account(ctx: Context, account_id: str) -> AccountDocument:
    """Return the account in the path. Raises Problem `not_found`, also for another user's when the caller is a
    person."""
    account = await ctx.required(ACCOUNTS, account_id)
    require_own(ctx, account["owner_id"], account_id)
    return account


async def referenced_account(ctx: Context, account_id: str, pointer: str) -> AccountDocument:
    """Return the account that a body refers to as the caller's own. Raises Problem `unknown_reference`, also for
    another user's when the caller is a person."""
    account = await ctx.referenced(ACCOUNTS, account_id, pointer)
    person = person_of(ctx)
    if person is not None and person != account["owner_id"]:
        raise Problem.at("unknown_reference", pointer, f"{account_id} is not known.")
    return account


async def owns_one_of(ctx: Context, person: str, *account_ids: str) -> bool:
    """Return whether one of the accounts is the person's."""
    for account_id in account_ids:
        account = await ctx.get(ACCOUNTS, account_id)
        if account is not None and account["owner_id"] == person:
            return True
    return False
