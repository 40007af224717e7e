"""A schedule's tick → the attempts that are due, or become due before the next tick."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from events.sweeps import Tick
from functions.webhooks._attempt import make_attempts, work_of
from shared.context.context import Context
from shared.context.tenant_work import in_pages, tenant_ids
from shared.core.clock import format_time, parse_time
from shared.functions.decorators import event_function
from shared.ports.documents import Query
from shared.records.webhooks import WEBHOOK_DELIVERIES, WebhookDeliveryDocument

_AHEAD: Final = timedelta(seconds=60)


@event_function(Tick, platform=True)
async def send_due(_tick: Tick, ctx: Context) -> None:
    """Make the attempts at deliveries that are due, and those that become due within a minute at their time.

    It finds what no process has in memory: retries after minutes or hours, and attempts that a process left behind.
    """
    until = format_time(ctx.now + _AHEAD)
    query = Query({"status": "pending"}, ranges={"due_at": (None, until)}, order_by="due_at")
    async for tenant_id in tenant_ids(ctx):
        await in_pages(ctx, tenant_id, "due", WEBHOOK_DELIVERIES, query, _add_page)
    await make_attempts(ctx)


async def _add_page(found: Sequence[WebhookDeliveryDocument], scope: Context) -> None:
    for delivery in found:
        due_at = delivery["due_at"]
        assert due_at is not None, "a range finds no document without the field"
        scope.webhooks.add(work_of(delivery), max(0.0, (parse_time(due_at) - scope.now).total_seconds()))
