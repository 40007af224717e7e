"""A schedule's tick → notification.due for each message whose quiet hours have ended."""

from __future__ import annotations

from collections.abc import Sequence

from events.sweeps import Tick
from functions.notifications._due import emit_due
from shared.context.context import Context
from shared.context.tenant_work import in_pages, tenant_ids
from shared.functions.decorators import event_function
from shared.ports.documents import Query
from shared.records.notifications import NOTIFICATIONS, NotificationDocument


@event_function(Tick, platform=True)
async def end_quiet_hours(_tick: Tick, ctx: Context) -> None:
    """Publish that a message is due when the quiet hours that it waited for have ended."""
    query = Query({"status": "pending"}, ranges={"due_at": (None, ctx.now_text)}, order_by="due_at")
    async for tenant_id in tenant_ids(ctx):
        await in_pages(ctx, tenant_id, "quiet", NOTIFICATIONS, query, _publish_page)


async def _publish_page(found: Sequence[NotificationDocument], scope: Context) -> None:
    for notification in found:
        emit_due(scope.update(NOTIFICATIONS, notification, due_at=None, updated_at=scope.now_text), scope)
