"""A schedule's tick: publish events that a crash left in the outbox."""

from __future__ import annotations

from events.sweeps import Tick
from shared.context import outbox
from shared.context.context import Context
from shared.functions.decorators import event_function

_MAX_PAGES = 100


@event_function(Tick, platform=True)
async def sweep_outbox(_tick: Tick, ctx: Context) -> None:
    """Publish committed events that are not marked as sent and are older than `outbox_grace_seconds`, oldest first.

    Within the grace time, the function that committed an event publishes it. A tick publishes a bounded number of
    events; the next one continues. An event may be published twice; consumers recognise it by its id. In `lastro up`
    the outbox is the broker's own log, so there is nothing to publish.
    """
    for _ in range(_MAX_PAGES):
        published = await outbox.publish_unsent(ctx)
        if not published:
            return
        ctx.log.info("published %d events that were left in the outbox", published)
