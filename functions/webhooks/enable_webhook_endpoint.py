"""POST /v1/webhook-endpoints/{endpoint_id}/enable."""

from __future__ import annotations

from functions.webhooks._endpoint import WebhookEndpoint, endpoint_resource
from functions.webhooks._registry import subscribe
from shared.context.context import Context
from shared.functions.decorators import http_function
from shared.records.webhooks import WEBHOOK_ENDPOINTS


@http_function(
    "POST /v1/webhook-endpoints/{endpoint_id}/enable",
    scope="webhooks:write",
    empty_body_is_object=True,
)
async def enable_webhook_endpoint(endpoint_id: str, ctx: Context) -> WebhookEndpoint:
    """Enable a webhook endpoint that was disabled.

    New events are sent to it from now on. Those that it has missed can be resent, if they have a delivery. An endpoint
    that is active stays as it is.
    """
    endpoint = await ctx.required(WEBHOOK_ENDPOINTS, endpoint_id)
    if endpoint["status"] != "active":
        endpoint = ctx.update(WEBHOOK_ENDPOINTS, endpoint, status="active", failing_since=None, updated_at=ctx.now_text)
        await subscribe(endpoint, ctx)
    return endpoint_resource(endpoint)
