"""POST /v1/users/{user_id}/activate → user.activated."""

from __future__ import annotations

from events.users import UserActivated
from functions.users._history import record_action
from functions.users._states import require_user_change
from functions.users._user import User, user_resources
from shared.context.context import Context
from shared.functions.decorators import http_function
from shared.http.models import Command
from shared.records.users import USERS


class ActivateUser(Command):
    """An object without fields, or no body at all."""


@http_function(
    "POST /v1/users/{user_id}/activate",
    scope="users:write",
    empty_body_is_object=True,
    sensitive=True,
    problems=("illegal_state",),
)
async def activate_user(user_id: str, command: ActivateUser, ctx: Context) -> User:
    """Activate a user.

    The user must be `pending`, after a review, or `suspended`. The user's accounts can pay again.
    """
    del command
    user = await ctx.required(USERS, user_id)
    require_user_change(user, "active")
    user = ctx.update(USERS, user, status="active", updated_at=ctx.now_text)
    await record_action(ctx, user_id, "activated")
    ctx.emit(UserActivated(user_id=user_id))
    return (await user_resources(ctx, [user]))[0]
