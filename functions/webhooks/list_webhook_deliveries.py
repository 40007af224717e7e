"""GET /v1/webhook-endpoints/{endpoint_id}/deliveries."""

from __future__ import annotations

from functions.webhooks._delivery_resource import WebhookDelivery, delivery_resource
from shared.context.context import Context
from shared.functions.decorators import http_function
from shared.http.models import ListQuery, Page
from shared.http.pages import find_page
from shared.ports.documents import Query
from shared.records.webhooks import WEBHOOK_DELIVERIES, WEBHOOK_ENDPOINTS


@http_function("GET /v1/webhook-endpoints/{endpoint_id}/deliveries", scope="webhooks:read")
async def list_webhook_deliveries(endpoint_id: str, query: ListQuery, ctx: Context) -> Page[WebhookDelivery]:
    """List the deliveries to a webhook endpoint, newest event first."""
    await ctx.required(WEBHOOK_ENDPOINTS, endpoint_id)
    return await find_page(
        ctx,
        WEBHOOK_DELIVERIES,
        query,
        {"endpoint_id": endpoint_id},
        lambda filters: Query(where=filters, newest_first=True),
        delivery_resource,
    )
