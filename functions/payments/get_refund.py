"""GET /v1/refunds/{refund_id}."""

from __future__ import annotations

from functions.payments._access import require_side
from functions.payments._refund_resource import Refund, refund_resource
from shared.context.context import Context
from shared.functions.decorators import http_function
from shared.records.payments import REFUNDS


@http_function("GET /v1/refunds/{refund_id}", scope="payments:read")
async def get_refund(refund_id: str, ctx: Context) -> Refund:
    """Retrieve a refund."""
    refund = await ctx.required(REFUNDS, refund_id)
    await require_side(ctx, refund)
    return refund_resource(refund)
