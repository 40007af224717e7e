"""Work over several tenants, done as one commit per tenant.

A handler has one unit of work for one tenant. What a schedule or a provider's callback sets going concerns many, so
each tenant's part is decided and committed by itself. The parts are not atomic together; each must be safe to repeat.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Final, TypeVar

from shared.context.commits import Points, decide_and_commit
from shared.context.context import Context, Origin
from shared.ports.documents import Place, Query
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
    ctx: Context, tenant_id: str, work: str, page: Callable[[Place | None, Context], Awaitable[Place | None]]
) -> None:
    """Work through a tenant's documents, a commit per page.

    `work` tells this from what else the handler does in pages. `page` is called with the place to begin behind (None:
    the start) and returns that of the next, or None. Each page is a cause of its own: its events have ids of their own.
    """
    after: Place | None = None
    while True:
        begin = "" if after is None else f"{after.value} {after.id}"
        # The handler's cause comes last: ids that derive from a cause carry the time that its end names.
        cause_id = f"{work}/{begin}/{ctx.origin.cause_id}"
        after = await run_in_tenant_unit_of_work(ctx, tenant_id, cause_id, partial(page, after))
        if after is None:
            return
