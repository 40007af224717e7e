"""DELETE /v1/webhook-endpoints/{endpoint_id}."""

from __future__ import annotations

from functions.webhooks._registry import unsubscribe
from shared.context.context import Context
from shared.functions.decorators import http_function
from shared.records.webhooks import WEBHOOK_ENDPOINTS


@http_function("DELETE /v1/webhook-endpoints/{endpoint_id}", scope="webhooks:write", status=204)
async def delete_webhook_endpoint(endpoint_id: str, ctx: Context) -> None:
    """Delete a webhook endpoint.

    No event is sent to it any more; an attempt in progress is finished. Its secret and its list of deliveries are gone.
    """
    await ctx.required(WEBHOOK_ENDPOINTS, endpoint_id)
    await unsubscribe(endpoint_id, ctx)
    ctx.delete(WEBHOOK_ENDPOINTS, endpoint_id)
