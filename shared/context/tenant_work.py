"""Work over several tenants, done as one commit per tenant.

A handler has one unit of work for one tenant. A sweep or a provider's callback concerns several tenants, so each
tenant's part has a unit of work and a commit of its own. The parts are not atomic together; each must be safe to
repeat.
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
    """Return the id of every tenant, suspended ones included: their payments in progress have to end too."""
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
    """Run `decide` for a tenant in a unit of work of its own, commit it, and return its result.

    `decide` runs again when its commit conflicts. `cause_id` is the cause that the ids of its events are derived from.
    Raises Unavailable when the conflicts do not end.
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

    `query` selects and orders the documents; its `limit` and `after` are ignored. `decide` is called with each page
    that is not empty. `work` distinguishes this from other work of the handler: each page is a cause of its own, so its
    events have ids of their own.
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
