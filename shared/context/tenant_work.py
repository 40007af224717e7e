"""Work over several tenants, done as one commit per tenant.

A handler has one unit of work for one tenant. What a schedule or a provider's callback sets going concerns many, so
each tenant's part is decided and committed by itself. The parts are not atomic together; each must be safe to repeat.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final, TypeVar

from shared.context.commits import Points, decide_and_commit
from shared.context.context import Context, Origin
from shared.identity.tenancy import tenant_of
from shared.ports.documents import Collection, D, Place, Query
from shared.records.tenants import TENANTS

T = TypeVar("T")
_POINTS: Final = Points("part.decided", "part.committed")


async def tenant_ids(ctx: Context) -> AsyncIterator[str]:
    """Every tenant, suspended ones too: money that is under way arrives all the same."""
    size, after = ctx.runtime.settings.sweep_batch, None
    while True:
        page = await ctx.runtime.documents.find(TENANTS, None, Query(after=after, limit=size))
        for tenant in page:
            yield tenant["id"]
        if len(page) < size:
            return
        after = page[-1]["id"]


async def is_tenant(ctx: Context, tenant_id: str) -> bool:
    """Return whether there is a tenant of this id."""
    return await tenant_of(ctx.runtime.documents, tenant_id) is not None


async def run_in_tenant_unit_of_work(
    ctx: Context,
    tenant_id: str,
    cause_id: str,
    decide: Callable[[Context], Awaitable[T]],
    *,
    correlation_id: str | None = None,
) -> T:
    """Decide for a tenant and commit it in a unit of work of its own, beside the handler's; returns what was decided.

    `decide` is run again when others change what it read. `cause_id` names what it acts on, and its events' ids
    derive from that. Raises Unavailable when the conflicts do not end.
    """
    origin = Origin(
        ctx.origin.operation,
        cause_id,
        correlation_id or ctx.origin.correlation_id,
        ctx.origin.causation_id,
        ctx.origin.traceparent,
        ctx.origin.dead_letter_id,
    )
    _, decision = await decide_and_commit(ctx.runtime, decide, tenant_id, origin, _POINTS, caller=ctx.caller)
    return decision


async def in_pages(
    ctx: Context,
    tenant_id: str,
    work: str,
    collection: Collection[D, ...],
    query: Query,
    decide: Callable[[Sequence[D], Context], Awaitable[None]],
) -> None:
    """Find a tenant's documents in pages of `sweep_batch`, and decide on each page in a unit of work of its own.

    `query` says which documents, in which order; its own limit and beginning do not count. `decide` is called with a
    page that is not empty. `work` tells this from what else the handler does in pages: each page is a cause of its own,
    so its events have ids of their own.
    """
    after: str | Place | None = None
    while True:
        begin = "" if after is None else after if isinstance(after, str) else f"{after.value} {after.id}"
        # The handler's cause comes last: ids that derive from a cause carry the time that its end names.
        cause_id = f"{work}/{begin}/{ctx.origin.cause_id}"
        page = query._replace(after=after, limit=ctx.runtime.settings.sweep_batch)
        after = await run_in_tenant_unit_of_work(ctx, tenant_id, cause_id, partial(_page, collection, page, decide))
        if after is None:
            return


async def _page(
    collection: Collection[D, ...],
    query: Query,
    decide: Callable[[Sequence[D], Context], Awaitable[None]],
    scope: Context,
) -> str | Place | None:
    """Decide on one page. Returns the place where the next begins, or None at the end."""
    found = await scope.find(collection, query)
    if found:
        await decide(found, scope)
    if len(found) < query.limit:
        return None
    last: Any = found[-1]
    return last["id"] if query.order_by is None else Place(last[query.order_by], last["id"])
