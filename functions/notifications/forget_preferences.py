"""user.closed → the preferences of the user are removed, with the token of the device."""

from __future__ import annotations

from events.users import UserClosed
from shared.context.context import Context
from shared.functions.decorators import event_function
from shared.records.notifications import NOTIFICATION_PREFERENCES


@event_function(UserClosed)
async def forget_preferences(event: UserClosed, ctx: Context) -> None:
    """Remove the preferences of a closed user, who gets no messages any more.

    The token of a device is personal data, and an erasure leaves none.
    """
    ctx.delete(NOTIFICATION_PREFERENCES, event.user_id)
