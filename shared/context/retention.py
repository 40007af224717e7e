"""The removal of documents that are older than a documented time, in bounded steps."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from typing import Any

from shared.context.context import Context
from shared.context.tenant_work import run_in_tenant_unit_of_work, tenant_ids
from shared.core.clock import format_time
from shared.ports.documents import PLATFORM, Collection, Query


async def remove_older(
    ctx: Context,
    collection: Collection[Any, ...],
    field: str,
    days: int,
    *,
    statuses: tuple[str, ...],
) -> None:
    """Remove the documents of all tenants, and of the platform, in these statuses whose `field` is a time more than
    `days` ago, oldest first.

    The collection has an index by status and `field`. A run removes at most LASTRO_RETENTION_DOCUMENTS documents of a
    tenant and status; the next one goes on. The metric `lastro_retention_removed_total` counts them.
    """
    before = format_time(ctx.now - timedelta(days=days))
    async for tenant_id in _owners(ctx):
        for status in statuses:
            query = Query(
                {"status": status}, ranges={field: (None, before)}, order_by=field, limit=ctx.settings.sweep_batch
            )
            await _remove(ctx, tenant_id, collection, query)


async def _remove(ctx: Context, tenant_id: str, collection: Collection[Any, ...], query: Query) -> None:
    left, page = ctx.settings.retention_documents, 0
    while left > 0:
        page += 1
        # Each page is a commit of its own. What it found is gone, so the next one begins at the oldest again.
        cause_id = f"retention/{collection.name}/{query.where['status']}/{page}/{ctx.origin.cause_id}"
        step = partial(_remove_page, collection, query._replace(limit=min(left, query.limit)))
        removed = await run_in_tenant_unit_of_work(ctx, tenant_id, cause_id, step)
        ctx.count("retention_removed", collection.name, removed)
        left -= removed
        if removed < query.limit:
            return


async def _remove_page(collection: Collection[Any, ...], query: Query, scope: Context) -> int:
    found = await scope.find(collection, query)
    for document in found:
        # A delivery or a letter may have come back to life since it was read.
        scope.expect(collection, document)
        scope.delete(collection, document["id"])
    return len(found)


async def _owners(ctx: Context) -> AsyncIterator[str]:
    yield PLATFORM
    async for tenant_id in tenant_ids(ctx):
        yield tenant_id
