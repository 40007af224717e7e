"""A schedule's tick: remove old dead letters."""

from __future__ import annotations

from events.sweeps import Tick
from shared.context.context import Context
from shared.context.retention import remove_older
from shared.functions.decorators import event_function
from shared.records.dead_letters import DEAD_LETTERS


@event_function(Tick, platform=True)
async def remove_dead_letters(_tick: Tick, ctx: Context) -> None:
    """Remove dead letters that were replayed or discarded LASTRO_RETENTION_DEAD_LETTERS_DAYS ago.

    One that waits for a decision is never removed.
    """
    days = ctx.settings.retention_dead_letters_days
    await remove_older(ctx, DEAD_LETTERS, "updated_at", days, statuses=("replayed", "discarded"))
