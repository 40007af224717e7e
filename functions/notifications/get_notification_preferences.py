"""GET /v1/users/{user_id}/notification-preferences."""

from __future__ import annotations

from functions.notifications._preferences import NotificationPreferences, preferences_resource
from shared.context.context import Context
from shared.context.persons import require_own
from shared.functions.decorators import http_function
from shared.records.notifications import NOTIFICATION_PREFERENCES
from shared.records.users import USERS


@http_function("GET /v1/users/{user_id}/notification-preferences", scope="users:read")
async def get_notification_preferences(user_id: str, ctx: Context) -> NotificationPreferences:
    """Retrieve how a user is told about payments."""
    require_own(ctx, user_id, user_id)
    await ctx.required(USERS, user_id)
    return preferences_resource(user_id, await ctx.get(NOTIFICATION_PREFERENCES, user_id))
