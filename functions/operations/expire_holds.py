"""A schedule's tick → account.hold_expired for each hold that has expired."""

from __future__ import annotations

from collections.abc import Sequence

from events.sweeps import HoldExpired, Tick
from shared.context.context import Context
from shared.context.tenant_work import in_pages, tenant_ids
from shared.functions.decorators import event_function
from shared.ports.documents import Query
from shared.records.accounts import HOLDS, HoldDocument


@event_function(Tick, platform=True)
async def expire_holds(_tick: Tick, ctx: Context) -> None:
    """Publish `hold_expired` for each active hold that has expired.

    The payments domain decides whether the payment expires; if so, accounts releases the hold. The event key is the
    hold's id: however often a sweep finds a hold, the payment processes its expiry once.
    """
    query = Query({"status": "active"}, ranges={"expires_at": (None, ctx.now_text)}, order_by="expires_at")
    async for tenant_id in tenant_ids(ctx):
        await in_pages(ctx, tenant_id, "expired", HOLDS, query, _publish_page)


async def _publish_page(found: Sequence[HoldDocument], scope: Context) -> None:
    """Publish one page of a tenant's expired holds."""
    for hold in found:
        expires_at = hold["expires_at"]
        assert expires_at is not None, "a range finds no document without the field"
        fact = HoldExpired(
            account_id=hold["account_id"],
            hold_id=hold["id"],
            payment_id=hold["payment_id"],
            expires_at=expires_at,
        )
        scope.emit(fact, event_key=hold["id"])
    scope.log.info("%d holds of %s have expired", len(found), scope.tenant_id)
