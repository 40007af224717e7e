"""Publishes committed events to a bus that does not read them itself: right after the commit, or later by a sweep."""

from __future__ import annotations

import logging
from datetime import timedelta

from shared.context.context import Context
from shared.context.runtime import Runtime
from shared.core.clock import format_time
from shared.core.crash_points import reach
from shared.ports.documents import Unavailable

log = logging.getLogger(__name__)


async def publish(runtime: Runtime, ctx: Context) -> None:
    """Publish the events of a commit, unless the bus reads the outbox itself. The outbox sweep retries what the bus
    refuses."""
    events = ctx.pending.events
    if not events or runtime.bus.reads_the_outbox:
        return
    try:
        await runtime.bus.publish(events)
        reach("outbox.published")
        await runtime.documents.mark_sent(events)
    except Unavailable as error:
        log.warning("%d events stay in the outbox: %s", len(events), error)


async def publish_unsent(ctx: Context) -> int:
    """Publish a bounded number of events that were committed and not marked as sent, oldest first. Return how many.

    Events younger than `outbox_grace_seconds` are skipped: the process that committed them is publishing them.
    """
    runtime = ctx.runtime
    older_than = format_time(ctx.now - timedelta(seconds=runtime.settings.outbox_grace_seconds))
    events = await runtime.documents.unsent(older_than, runtime.settings.sweep_batch)
    if events:
        await runtime.bus.publish(events)
        await runtime.documents.mark_sent(events)
    return len(events)
