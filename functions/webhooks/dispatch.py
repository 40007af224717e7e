"""Every event of a tenant → a delivery for each endpoint that wants it."""

from __future__ import annotations

import orjson

from functions.webhooks._due import emit_due
from functions.webhooks._registry import is_unwanted, wanting
from shared.context.context import Context
from shared.core.envelope import Envelope
from shared.core.problems import Problem
from shared.functions.decorators import event_function
from shared.ports.documents import PLATFORM
from shared.records.webhooks import WEBHOOK_DELIVERIES, WEBHOOK_REGISTRIES, WebhookDeliveryDocument


@event_function(platform=True, unwanted=is_unwanted)
async def dispatch(event: Envelope, ctx: Context) -> None:
    """Create a delivery of the event for each endpoint of its tenant that wants it; it is due at once.

    There is one delivery for each event and endpoint, however often the event comes. An event without a tenant is
    skipped. Raises Problem `tenant_mismatch` for one whose partition key is of another tenant.
    """
    tenant_id = event.tenant_id
    if not tenant_id or tenant_id == PLATFORM:
        return
    if not event.partition_key.startswith(f"{tenant_id}/"):
        raise Problem("tenant_mismatch", "The event's partitionkey does not begin with its tenant.")
    ctx.scope_to(tenant_id)
    for endpoint_id in wanting(await ctx.get(WEBHOOK_REGISTRIES, tenant_id), event.type):
        id = ctx.derived_id("whd", event.id, f"{endpoint_id}\n{event.source}")
        if await ctx.get(WEBHOOK_DELIVERIES, id) is None:
            emit_due(ctx.insert(WEBHOOK_DELIVERIES, _delivery(id, endpoint_id, event, ctx)), ctx)


def _delivery(id: str, endpoint_id: str, event: Envelope, ctx: Context) -> WebhookDeliveryDocument:
    return {
        "id": id,
        "tenant_id": ctx.tenant_id,
        "version": 1,
        "endpoint_id": endpoint_id,
        "event_id": event.id,
        "event_type": event.type,
        "status": "pending",
        "body": _body(event),
        "correlation_id": event.correlation_id,
        "attempts": [],
        "retries": 0,
        "resend_from": None,
        "lease": None,
        "due_at": ctx.now_text,
        "next_attempt_at": ctx.now_text,
        "created_at": ctx.now_text,
        "updated_at": ctx.now_text,
    }


def _body(event: Envelope) -> str:
    """Return the text that is sent. The data is that of the event, unchanged, so that no number is rounded."""
    return orjson.dumps(
        {
            "id": event.id,
            "type": event.type,
            "timestamp": event.time,
            "tenant_id": event.tenant_id,
            "data": orjson.Fragment(event.data),
        }
    ).decode()
