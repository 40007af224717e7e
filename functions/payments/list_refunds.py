"""GET /v1/payments/{payment_id}/refunds."""

from __future__ import annotations

from functions.payments._access import visible_payment
from functions.payments._refund_resource import Refund, refund_resource
from shared.context.context import Context
from shared.functions.decorators import http_function
from shared.http.models import ListQuery, Page
from shared.http.pages import find_page
from shared.ports.documents import Query
from shared.records.payments import REFUNDS


@http_function("GET /v1/payments/{payment_id}/refunds", scope="payments:read")
async def list_refunds(payment_id: str, query: ListQuery, ctx: Context) -> Page[Refund]:
    """List the refunds of a payment, newest first. Those of what the receiver of a payment out has sent back are among
    them."""
    await visible_payment(ctx, payment_id)
    return await find_page(
        ctx,
        REFUNDS,
        query,
        {"payment_id": payment_id},
        # The id of such a refund derives from the payment, so ids are in no order of time.
        lambda filters: Query(where=filters, newest_first=True, order_by="created_at"),
        refund_resource,
    )
