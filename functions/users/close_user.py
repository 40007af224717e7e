"""POST /v1/users/{user_id}/close → user.closed."""

from __future__ import annotations

from functools import partial

from functions.users._closing import close_or_keep
from functions.users._states import require_user_change
from functions.users._user import User, user_resources
from shared.context.context import Context
from shared.context.tenant_work import run_in_tenant_unit_of_work
from shared.core.problems import Problem
from shared.functions.decorators import http_function
from shared.http.models import Command
from shared.records.users import USERS


class CloseUser(Command):
    """An object without fields, or no body at all."""


@http_function(
    "POST /v1/users/{user_id}/close",
    scope="users:write",
    empty_body_is_object=True,
    sensitive=True,
    problems=("illegal_state",),
)
async def close_user(user_id: str, command: CloseUser, ctx: Context) -> User:
    """Close a user.

    Every account of the user must be closed. A closed user cannot be activated again.
    """
    del command
    # The beginning is committed before the search for accounts: an account that was committed until then is found, and
    # none can be committed later.
    await run_in_tenant_unit_of_work(ctx, ctx.tenant_id, ctx.origin.cause_id, partial(_begin, user_id))
    user = await ctx.required(USERS, user_id)
    # A concurrent request or the sweep may have ended the closing since.
    if user.get("closing_since") is not None:
        user = await close_or_keep(ctx, user)
    if user["status"] != "closed":
        await run_in_tenant_unit_of_work(ctx, ctx.tenant_id, ctx.origin.cause_id, partial(_give_up, user_id))
        raise Problem("illegal_state", "The user has an account that is not closed. Close all accounts first.")
    return (await user_resources(ctx, [user]))[0]


async def _begin(user_id: str, scope: Context) -> None:
    """Begin the closing. Raises Problem `not_found` or `illegal_state`."""
    user = await scope.required(USERS, user_id)
    require_user_change(user, "closed")
    if user.get("closing_since") is None:
        scope.update(USERS, user, closing_since=scope.now_text)


async def _give_up(user_id: str, scope: Context) -> None:
    """End the closing without effect: the user may have accounts again."""
    user = await scope.required(USERS, user_id)
    if user.get("closing_since") is not None:
        scope.update(USERS, user, closing_since=None)
