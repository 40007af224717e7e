"""The delivery resource of the HTTP API."""

from __future__ import annotations

from pydantic import Field

from shared.http.models import Resource, Time
from shared.records.webhooks import DeliveryStatus, WebhookDeliveryDocument


class DeliveryAttempt(Resource):
    """One attempt to send an event to an endpoint."""

    at: Time = Field(description="When the attempt began.")
    status_code: int | None = Field(description="The HTTP status of the response; null when none came.")
    error: str | None = Field(
        description="Why there was no accepted response: `timeout`, `connection_failed`, `tls_failed`, "
        "`name_not_resolved`, `address_refused`, `redirect_refused` or `invalid_response`; null otherwise."
    )
    duration_ms: int = Field(description="How long the attempt took, in milliseconds.")


class WebhookDelivery(Resource):
    """One event for one endpoint, with all attempts to send it."""

    id: str = Field(description="The delivery's id, `whd_…`.")
    event_id: str = Field(description="The event's id, which is sent as `webhook-id`.")
    event_type: str = Field(description="The event's type.")
    status: DeliveryStatus = Field(
        description="`pending` waits for the next attempt; `delivered` was accepted with a 2xx status; `exhausted` was "
        "not accepted at any attempt."
    )
    attempts: list[DeliveryAttempt] = Field(description="The attempts so far, oldest first.")
    next_attempt_at: Time | None = Field(description="When the next attempt is due; null when there is none.")


def delivery_resource(delivery: WebhookDeliveryDocument) -> WebhookDelivery:
    """Return the resource of a delivery."""
    return WebhookDelivery(
        id=delivery["id"],
        event_id=delivery["event_id"],
        event_type=delivery["event_type"],
        status=delivery["status"],
        attempts=[DeliveryAttempt(**attempt) for attempt in delivery["attempts"]],
        next_attempt_at=delivery["next_attempt_at"],
    )
