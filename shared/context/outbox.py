"""Committed events are handed to a bus that does not read them itself: right after the commit, or later by a sweep."""

from __future__ import annotations

import logging
from datetime import timedelta

from shared.context.context import Context
from shared.context.runtime import Runtime
from shared.core.clock import format_time
from shared.ports.documents import Unavailable

log = logging.getLogger(__name__)


async def publish(runtime: Runtime, ctx: Context) -> None:
    """Hand a commit's events to a bus that does not read them itself. What it does not take the outbox sweep will."""
    events = ctx.pending.events
    if not events or runtime.bus.reads_the_outbox:
        return
    try:
        await runtime.bus.publish(events)
        await runtime.documents.mark_sent(events)
    except Unavailable as error:
        log.warning("%d events stay in the outbox: %s", len(events), error)


async def publish_unsent(ctx: Context) -> int:
    """Publish a bounded number of events that were committed and not marked as sent, oldest first; return how many.

    An event is left alone for `outbox_grace_seconds`: within them the process that committed it publishes it.
    """
    runtime = ctx.runtime
    older_than = format_time(ctx.now - timedelta(seconds=runtime.settings.outbox_grace_seconds))
    events = await runtime.documents.unsent(older_than, runtime.settings.sweep_batch)
    if events:
        await runtime.bus.publish(events)
        await runtime.documents.mark_sent(events)
    return len(events)
