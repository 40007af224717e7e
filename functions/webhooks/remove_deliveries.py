"""A schedule's tick: remove old deliveries."""

from __future__ import annotations

from events.sweeps import Tick
from shared.context.context import Context
from shared.context.retention import remove_older
from shared.functions.decorators import event_function
from shared.records.webhooks import WEBHOOK_DELIVERIES


@event_function(Tick, platform=True)
async def remove_deliveries(_tick: Tick, ctx: Context) -> None:
    """Remove deliveries that have ended LASTRO_RETENTION_DELIVERIES_DAYS ago, with their attempt logs."""
    days = ctx.settings.retention_deliveries_days
    await remove_older(ctx, WEBHOOK_DELIVERIES, "updated_at", days, statuses=("delivered", "exhausted"))
