"""POST /v1/users/{user_id}/suspend → user.suspended."""

from __future__ import annotations

from pydantic import Field

from events.users import UserSuspended
from functions.users._history import record_action
from functions.users._states import require_user_change
from functions.users._user import User, user_resources
from shared.context.context import Context
from shared.functions.decorators import http_function
from shared.http.models import Command, Description
from shared.records.users import USERS


class SuspendUser(Command):
    """The reason for which a user is suspended, if there is one."""

    reason: Description | None = Field(default=None, description="A reason. It is shown in the user's history.")


@http_function(
    "POST /v1/users/{user_id}/suspend",
    scope="users:write",
    empty_body_is_object=True,
    sensitive=True,
    problems=("illegal_state",),
)
async def suspend_user(user_id: str, command: SuspendUser, ctx: Context) -> User:
    """Suspend an active user.

    New payments from the user's accounts are declined as `user_suspended`, and no account is opened for the user. The
    accounts can receive money, and refunds from them are paid. Amounts that are held already stay held, and their
    payments can be captured.
    """
    user = await ctx.required(USERS, user_id)
    require_user_change(user, "suspended")
    user = ctx.update(USERS, user, status="suspended", updated_at=ctx.now_text)
    await record_action(ctx, user_id, "suspended", command.reason)
    ctx.emit(UserSuspended(user_id=user_id))
    return (await user_resources(ctx, [user]))[0]
