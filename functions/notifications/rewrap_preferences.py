"""A schedule's tick: seal the tokens of devices with the newest key, after a rotation."""

from __future__ import annotations

from collections.abc import Sequence

from events.sweeps import Tick
from shared.context.context import Context
from shared.context.tenant_work import in_pages, tenant_ids
from shared.functions.decorators import event_function
from shared.ports.documents import Query
from shared.records.notifications import NOTIFICATION_PREFERENCES, NotificationPreferencesDocument


@event_function(Tick, platform=True)
async def rewrap_preferences(_tick: Tick, ctx: Context) -> None:
    """Seal every token of a device that has an older key with the newest one. What has the newest is not written."""
    async for tenant_id in tenant_ids(ctx):
        await in_pages(ctx, tenant_id, "preferences", NOTIFICATION_PREFERENCES, Query(), _rewrap)


async def _rewrap(found: Sequence[NotificationPreferencesDocument], scope: Context) -> None:
    sealed = [
        (preferences, preferences["push_token"]) for preferences in found if preferences["push_token"] is not None
    ]
    if not sealed:
        return
    newest = await scope.secrets.rewrap([token for _, token in sealed])
    for (preferences, token), anew in zip(sealed, newest, strict=True):
        if token != anew:
            scope.update(NOTIFICATION_PREFERENCES, preferences, push_token=anew)
