"""Publishing that an attempt to deliver is due."""

from __future__ import annotations

from events.webhooks import WebhookDeliveryDue
from shared.context.context import Context
from shared.records.webhooks import WebhookDeliveryDocument


def emit_due(delivery: WebhookDeliveryDocument, ctx: Context) -> None:
    """Publish that an attempt is due, under a correlation of its own.

    A request with `Prefer: wait` waits for the events that it has caused, and must not wait for an endpoint.
    """
    ctx.emit(
        WebhookDeliveryDue(
            delivery_id=delivery["id"],
            endpoint_id=delivery["endpoint_id"],
            event_id=delivery["event_id"],
            event_type=delivery["event_type"],
        ),
        correlationid=delivery["id"],
    )
