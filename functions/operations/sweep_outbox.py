"""A schedule's tick: publish events that a crash left in the outbox."""

from __future__ import annotations

from datetime import timedelta

from events.sweeps import Tick
from shared.context.context import Context
from shared.core.clock import format_time
from shared.functions.decorators import event_function

_MAX_PAGES = 100


@event_function(Tick, platform=True)
async def sweep_outbox(_tick: Tick, ctx: Context) -> None:
    """Publish committed events that are not marked as sent and are older than `outbox_grace_seconds`, oldest first.

    Within the grace time, the function that committed an event publishes it. A tick publishes a bounded number of
    events; the next one continues. An event may be published twice; consumers recognise it by its id. In `lastro up`
    the outbox is the broker's own log, so there is nothing to publish.
    """
    settings, documents = ctx.runtime.settings, ctx.runtime.documents
    older_than = format_time(ctx.now - timedelta(seconds=settings.outbox_grace_seconds))
    for _ in range(_MAX_PAGES):
        events = await documents.unsent(older_than, settings.sweep_batch)
        if not events:
            return
        await ctx.runtime.bus.publish(events)
        await documents.mark_sent(events)
        ctx.log.info("published %d events that were left in the outbox", len(events))
