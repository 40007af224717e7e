"""A schedule's tick → pix.charge_expired for each PIX charge that was not paid in time."""

from __future__ import annotations

from collections.abc import Sequence

from events.charges import ChargeExpired
from events.sweeps import Tick
from functions.providers._pix_charge import change_status
from shared.context.context import Context
from shared.context.tenant_work import in_pages, tenant_ids
from shared.core.money import money
from shared.functions.decorators import event_function
from shared.ports.documents import Query
from shared.records.pix_charges import PIX_CHARGES, PixChargeDocument


@event_function(Tick, platform=True)
async def expire_pix_charges(_tick: Tick, ctx: Context) -> None:
    """Change overdue PIX charges to `expired`. A charge whose payment was reported becomes `paid` instead."""
    query = Query({"status": "active"}, ranges={"expires_at": (None, ctx.now_text)}, order_by="expires_at")
    async for tenant_id in tenant_ids(ctx):
        await in_pages(ctx, tenant_id, "expired", PIX_CHARGES, query, _expire_page)


async def _expire_page(found: Sequence[PixChargeDocument], scope: Context) -> None:
    """Expire one page of a tenant's overdue charges."""
    for charge in found:
        if charge["end_to_end_id"] is not None:
            continue
        change_status(scope, charge, "expired")
        scope.emit(
            ChargeExpired(
                charge_id=charge["txid"],
                account_id=charge["account_id"],
                amount=money(charge["amount"], charge["currency"]),
                expires_at=charge["expires_at"],
            )
        )
