"""The removal of documents, or of their contents, after a documented time, in bounded steps."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

from shared.context.context import Context
from shared.context.tenant_work import run_in_tenant_unit_of_work, tenant_ids
from shared.core.clock import format_time
from shared.ports.documents import PLATFORM, Collection, D, Query


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
            query = Query({"status": status}, ranges={field: (None, before)}, order_by=field)
            await _page_by_page(ctx, tenant_id, collection, query, partial(_remove, collection))


async def empty_older(
    ctx: Context,
    collection: Collection[D, ...],
    field: str,
    days: int,
    empty: Callable[[Sequence[D], Context], None],
) -> None:
    """Empty the documents of all tenants, and of the platform, whose `field` is a time more than `days` ago, oldest
    first.

    `empty` adds the replacements of a page of documents to the commit; their `field` is None. The collection has a
    sparse index by `field`. The bound of a run and the metric are those of `remove_older`.
    """
    before = format_time(ctx.now - timedelta(days=days))
    query = Query(ranges={field: (None, before)}, order_by=field)
    async for tenant_id in _owners(ctx):
        await _page_by_page(ctx, tenant_id, collection, query, empty)


async def _page_by_page(
    ctx: Context,
    tenant_id: str,
    collection: Collection[D, ...],
    query: Query,
    decide: Callable[[Sequence[D], Context], None],
) -> None:
    """Find a tenant's documents and decide on them, at most LASTRO_RETENTION_DOCUMENTS."""
    left, page, most = ctx.settings.retention_documents, 0, ctx.settings.sweep_batch
    while left > 0:
        page += 1
        # Each page is a commit of its own. The query no longer finds what the last one found, so the next one begins at
        # the oldest again.
        cause_id = f"retention/{collection.name}/{query.where.get('status', '')}/{page}/{ctx.origin.cause_id}"
        step = partial(_decide_on_page, collection, query._replace(limit=min(left, most)), decide)
        removed = await run_in_tenant_unit_of_work(ctx, tenant_id, cause_id, step)
        ctx.count("retention_removed", collection.name, removed)
        left -= removed
        if removed < most:
            return


async def _decide_on_page(
    collection: Collection[D, ...], query: Query, decide: Callable[[Sequence[D], Context], None], scope: Context
) -> int:
    found = await scope.find(collection, query)
    decide(found, scope)
    return len(found)


def _remove(collection: Collection[Any, ...], found: Sequence[Any], scope: Context) -> None:
    for document in found:
        # A delivery or a letter may have come back to life since it was read.
        scope.expect(collection, document)
        scope.delete(collection, document["id"])


async def _owners(ctx: Context) -> AsyncIterator[str]:
    yield PLATFORM
    async for tenant_id in tenant_ids(ctx):
        yield tenant_id
