"""GET /v1/webhook-endpoints."""

from __future__ import annotations

from functions.webhooks._endpoint import WebhookEndpoint, endpoint_resource
from shared.context.context import Context
from shared.functions.decorators import http_function
from shared.http.models import ListQuery, Page
from shared.http.pages import find_page
from shared.ports.documents import Query
from shared.records.webhooks import WEBHOOK_ENDPOINTS


@http_function("GET /v1/webhook-endpoints", scope="webhooks:read")
async def list_webhook_endpoints(query: ListQuery, ctx: Context) -> Page[WebhookEndpoint]:
    """List webhook endpoints, newest first."""
    return await find_page(
        ctx, WEBHOOK_ENDPOINTS, query, {}, lambda filters: Query(where=filters, newest_first=True), endpoint_resource
    )
