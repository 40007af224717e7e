"""GET /v1/webhook-endpoints/{endpoint_id}."""

from __future__ import annotations

from functions.webhooks._endpoint import WebhookEndpoint, endpoint_resource
from shared.context.context import Context
from shared.functions.decorators import http_function
from shared.records.webhooks import WEBHOOK_ENDPOINTS


@http_function("GET /v1/webhook-endpoints/{endpoint_id}", scope="webhooks:read")
async def get_webhook_endpoint(endpoint_id: str, ctx: Context) -> WebhookEndpoint:
    """Retrieve a webhook endpoint, without its secret."""
    return endpoint_resource(await ctx.required(WEBHOOK_ENDPOINTS, endpoint_id))
