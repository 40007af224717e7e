"""The statuses of webhook endpoints and of deliveries, and the legal changes between them."""

from __future__ import annotations

from typing import Final

from shared.records.webhooks import DeliveryStatus, EndpointStatus

ENDPOINT_CHANGES: Final[dict[EndpointStatus, frozenset[EndpointStatus]]] = {
    # After days of failure; the tenant enables it again.
    "active": frozenset({"disabled"}),
    "disabled": frozenset({"active"}),
}
"""The statuses that may follow each status."""

DELIVERY_CHANGES: Final[dict[DeliveryStatus, frozenset[DeliveryStatus]]] = {
    "pending": frozenset({"delivered", "exhausted"}),
    # A resend adds an attempt.
    "delivered": frozenset({"pending"}),
    "exhausted": frozenset({"pending"}),
}
