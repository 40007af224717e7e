"""A schedule's turn: tell of holds whose time is over."""

from __future__ import annotations

from events.sweeps import HoldExpired, Tick
from shared.context.context import Context
from shared.context.tenant_work import in_pages, tenant_ids
from shared.functions.decorators import event_function
from shared.ports.documents import Query
from shared.records.accounts import HOLDS


@event_function(Tick, platform=True)
async def expire_holds(_tick: Tick, ctx: Context) -> None:
    """Tell payments of the active holds that have run out; it decides, and what it expires is released.

    The same hold is the same fact, however often a sweep finds it.
    """
    async for tenant_id in tenant_ids(ctx):
        await in_pages(ctx, tenant_id, _tell_page)


async def _tell_page(after: str | None, scope: Context) -> str | None:
    """Tell of one batch of a tenant's expired holds; the place to go on from, or None at the end."""
    size = scope.runtime.settings.sweep_batch
    ended = (None, scope.now_text)
    found = await scope.find(
        HOLDS, Query(where={"status": "active"}, ranges={"expires_at": ended}, after=after, limit=size)
    )
    for hold in found:
        expires_at = hold["expires_at"]
        assert expires_at is not None, "a range finds no document without the field"
        fact = HoldExpired(
            account_id=hold["account_id"],
            hold_id=hold["id"],
            payment_id=hold["payment_id"],
            expires_at=expires_at,
        )
        scope.emit(fact, known_as=hold["id"])
    if found:
        scope.log.info("%d holds of %s have expired", len(found), scope.tenant_id)
    return found[-1]["id"] if len(found) == size else None
