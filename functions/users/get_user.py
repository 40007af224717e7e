"""GET /v1/users/{user_id}."""

from __future__ import annotations

from functions.users._user import User, user_resources
from shared.context.context import Context
from shared.context.persons import require_own
from shared.functions.decorators import http_function
from shared.records.users import USERS


@http_function("GET /v1/users/{user_id}", scope="users:read")
async def get_user(user_id: str, ctx: Context) -> User:
    """Retrieve a user.

    The response has the personal data that the tenant registered.
    """
    require_own(ctx, user_id, user_id)
    user = await ctx.required(USERS, user_id)
    return (await user_resources(ctx, [user]))[0]
