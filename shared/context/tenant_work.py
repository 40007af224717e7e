"""Sweeps: work over all tenants, done as one commit per tenant.

A handler has one unit of work for one tenant. What a schedule or a provider's callback sets going concerns many, so
each tenant's part is decided and committed apart. The parts are not atomic together; each must be safe to do again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import TypeVar

from shared.context.context import Context, Origin
from shared.context.outbox import publish
from shared.core.crash_points import reach
from shared.ports.documents import CommitRefused, Query, Unavailable
from shared.records.tenants import TENANTS

T = TypeVar("T")


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


async def apart(
    ctx: Context,
    tenant_id: str,
    cause_id: str,
    decide: Callable[[Context], Awaitable[T]],
    *,
    correlation_id: str | None = None,
) -> T:
    """Decide for a tenant and commit it, apart from the handler's own unit of work; what was decided.

    `decide` is run again when others change what it read; `cause_id` names what it acts on, and its events' ids
    derive from that. Raises Unavailable when the conflicts do not end.
    """
    origin = Origin(
        ctx.origin.operation,
        cause_id,
        correlation_id or ctx.origin.correlation_id,
        ctx.origin.causation_id,
        ctx.origin.traceparent,
    )
    for _ in range(ctx.runtime.settings.commit_attempts):
        part = Context(ctx.runtime, tenant_id, origin, ctx.caller)
        decision = await decide(part)
        pending = part.pending
        if pending.is_empty:
            return decision
        try:
            await ctx.runtime.documents.commit(pending)
        except CommitRefused as conflict:
            ctx.log.debug("%s decides again for %s: %s", origin.operation, tenant_id, conflict)
            continue
        reach("part.committed")
        await publish(ctx.runtime, part)
        return decision
    raise Unavailable(f"too many others change what {origin.operation} works on")


async def in_pages(ctx: Context, tenant_id: str, page: Callable[[str | None, Context], Awaitable[str | None]]) -> None:
    """Work through a tenant's documents, a commit per page.

    `page` is called with the place to begin behind (None: the start) and returns that of the next, or None.
    """
    after: str | None = None
    while True:
        after = await apart(ctx, tenant_id, ctx.origin.cause_id, partial(page, after))
        if after is None:
            return
