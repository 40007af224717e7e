"""A schedule's tick: remove old messages."""

from __future__ import annotations

from events.sweeps import Tick
from shared.context.context import Context
from shared.context.retention import remove_older
from shared.functions.decorators import event_function
from shared.records.notifications import NOTIFICATIONS


@event_function(Tick, platform=True)
async def remove_notifications(_tick: Tick, ctx: Context) -> None:
    """Remove messages to users that were sent, or have failed, LASTRO_RETENTION_NOTIFICATIONS_DAYS ago."""
    days = ctx.settings.retention_notifications_days
    await remove_older(ctx, NOTIFICATIONS, "updated_at", days, statuses=("sent", "failed"))
