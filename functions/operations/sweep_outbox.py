"""A schedule's turn: publish what a crash left in the outbox."""

from __future__ import annotations

from datetime import timedelta

from events.sweeps import Tick
from shared.context.context import Context
from shared.core.clock import format_time
from shared.functions.decorators import event_function

_MAX_PAGES = 100


@event_function(Tick, platform=True)
async def sweep_outbox(_tick: Tick, ctx: Context) -> None:
    """Publish committed events that were never marked sent, oldest first, once they are older than the grace time
    that their own function has for it.

    One turn takes a bounded number; what is left is the next one's. An event may be published twice, and consumers
    know it by its id. Where the outbox is the broker's own log there is never anything left.
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
