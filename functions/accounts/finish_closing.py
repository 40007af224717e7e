"""A schedule's tick: close the closing accounts for which nothing is in progress."""

from __future__ import annotations

from collections.abc import Sequence

from events.sweeps import Tick
from functions.accounts._closing import close_or_wait
from shared.context.context import Context
from shared.context.tenant_work import in_pages, tenant_ids
from shared.functions.decorators import event_function
from shared.ports.documents import Query
from shared.records.accounts import ACCOUNTS, AccountDocument


@event_function(Tick, platform=True)
async def finish_closing(_tick: Tick, ctx: Context) -> None:
    """Close every closing account for which nothing is in progress, tenant by tenant."""
    query = Query(where={"status": "closing"})
    async for tenant_id in tenant_ids(ctx):
        await in_pages(ctx, tenant_id, "closing", ACCOUNTS, query, _finish_page)


async def _finish_page(found: Sequence[AccountDocument], scope: Context) -> None:
    """Close the accounts of one page of a tenant's closing accounts, where nothing is in progress."""
    for account in found:
        await close_or_wait(scope, account)
