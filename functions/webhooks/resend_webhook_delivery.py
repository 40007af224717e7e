"""POST /v1/webhook-endpoints/{endpoint_id}/deliveries/{delivery_id}/resend."""

from __future__ import annotations

from typing import Final

from functions.webhooks._delivery_resource import WebhookDelivery, delivery_resource
from functions.webhooks._due import emit_due
from shared.context.context import Context
from shared.core.problems import Problem
from shared.functions.decorators import http_function
from shared.records.webhooks import WEBHOOK_DELIVERIES, WEBHOOK_ENDPOINTS

MAX_ATTEMPTS: Final = 100


@http_function(
    "POST /v1/webhook-endpoints/{endpoint_id}/deliveries/{delivery_id}/resend",
    scope="webhooks:write",
    empty_body_is_object=True,
    problems=("illegal_state",),
)
async def resend_webhook_delivery(endpoint_id: str, delivery_id: str, ctx: Context) -> WebhookDelivery:
    """Resend an event to a webhook endpoint.

    One more attempt is made at once, with the same event and the same `webhook-id`. When it fails, a delivery that
    was delivered or exhausted has that status again, and a pending one continues with its retries.
    """
    endpoint = await ctx.required(WEBHOOK_ENDPOINTS, endpoint_id)
    delivery = await ctx.get(WEBHOOK_DELIVERIES, delivery_id)
    if delivery is None or delivery["endpoint_id"] != endpoint_id:
        raise Problem("not_found", f"There is no {delivery_id}.")
    if endpoint["status"] != "active":
        raise Problem("illegal_state", "The endpoint is disabled. Enable it first.")
    if delivery["lease"] is not None and delivery["due_at"] is not None and ctx.now_text < delivery["due_at"]:
        raise Problem("illegal_state", "An attempt is in progress. Wait for its result.")
    if len(delivery["attempts"]) >= MAX_ATTEMPTS:
        raise Problem("illegal_state", f"The event was sent {MAX_ATTEMPTS} times to this endpoint, which is the most.")
    ctx.expect(WEBHOOK_ENDPOINTS, endpoint)
    delivery = ctx.update(
        WEBHOOK_DELIVERIES,
        delivery,
        resend_from=delivery["resend_from"] if delivery["status"] == "pending" else delivery["status"],
        status="pending",
        lease=None,
        due_at=ctx.now_text,
        next_attempt_at=ctx.now_text,
        updated_at=ctx.now_text,
    )
    emit_due(delivery, ctx)
    return delivery_resource(delivery)
