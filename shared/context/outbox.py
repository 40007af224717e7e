"""The way of committed events to a bus that has to be given them."""

from __future__ import annotations

import logging

from shared.context.context import Context
from shared.context.runtime import Runtime
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
