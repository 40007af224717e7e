"""A schedule's tick: close the closing accounts for which nothing is in progress any more."""

from __future__ import annotations

from events.sweeps import Tick
from functions.accounts._closing import close_or_wait
from shared.context.context import Context
from shared.context.tenant_work import in_pages, tenant_ids
from shared.functions.decorators import event_function
from shared.ports.documents import Place, Query
from shared.records.accounts import ACCOUNTS


@event_function(Tick, platform=True)
async def finish_closing(_tick: Tick, ctx: Context) -> None:
    """Look at every closing account again, tenant by tenant."""
    async for tenant_id in tenant_ids(ctx):
        await in_pages(ctx, tenant_id, "closing", _finish_page)


async def _finish_page(after: Place | None, scope: Context) -> Place | None:
    """Look at one page of a tenant's closing accounts. Return the place to continue from, or None at the end."""
    size = scope.runtime.settings.sweep_batch
    query = Query(where={"status": "closing"}, after=None if after is None else after.id, limit=size)
    found = await scope.find(ACCOUNTS, query)
    for account in found:
        await close_or_wait(scope, account)
    return Place("closing", found[-1]["id"]) if len(found) == size else None
