"""The documents of the webhooks domain: endpoints, the registry of a tenant's subscriptions, and deliveries."""

from __future__ import annotations

from typing import Final, Literal

from typing_extensions import TypedDict

from shared.ports.documents import Collection, Document, Index

EndpointStatus = Literal["active", "disabled"]


DeliveryStatus = Literal["pending", "delivered", "exhausted"]


class WebhookEndpointDocument(Document):
    """An address that a tenant wants events to be sent to (owner: webhooks).

    `events` are event types, `prefix.*` or `*`. `secret` is sealed; so is `previous_secret`, which signs beside it
    until `previous_expires_at`. `failing_since` is the time of the first failed attempt after the last success, or
    None.
    """

    url: str
    events: list[str]
    status: EndpointStatus
    secret: str
    previous_secret: str | None
    previous_expires_at: str | None
    failing_since: str | None
    created_at: str
    updated_at: str


class WebhookEndpointChanges(TypedDict, total=False):
    """The fields of an endpoint that may change."""

    status: EndpointStatus
    secret: str
    previous_secret: str | None
    previous_expires_at: str | None
    failing_since: str | None
    updated_at: str


class SubscriptionDocument(TypedDict):
    """An active endpoint and the events that it wants."""

    endpoint_id: str
    events: list[str]


class WebhookRegistryDocument(Document):
    """The subscriptions of a tenant's active endpoints. Its id is the tenant's.

    Each event of the tenant is compared with it, so it is one document that is read by its id.
    """

    subscriptions: list[SubscriptionDocument]


class WebhookRegistryChanges(TypedDict, total=False):
    """The fields of a registry that may change."""

    subscriptions: list[SubscriptionDocument]


class AttemptDocument(TypedDict):
    """One attempt to deliver. `status_code` is None when the endpoint did not answer; `error` then says why."""

    at: str
    status_code: int | None
    error: str | None
    duration_ms: int


class WebhookDeliveryDocument(Document):
    """One event for one endpoint (owner: webhooks).

    `body` is the JSON text that is sent. `retries` counts the attempts that were made by the schedule after the first.
    `resend_from` is the status before a requested resend, or None. `due_at` is the time from which a process may make
    the next attempt; None when there is none. `lease` identifies the attempt in progress: while it is made, `due_at` is
    the time at which it counts as lost. `next_attempt_at` is the time that the API shows.
    """

    endpoint_id: str
    event_id: str
    event_type: str
    status: DeliveryStatus
    body: str
    correlation_id: str
    attempts: list[AttemptDocument]
    retries: int
    resend_from: DeliveryStatus | None
    lease: str | None
    due_at: str | None
    next_attempt_at: str | None
    created_at: str
    updated_at: str


class WebhookDeliveryChanges(TypedDict, total=False):
    """The fields of a delivery that may change."""

    status: DeliveryStatus
    attempts: list[AttemptDocument]
    retries: int
    resend_from: DeliveryStatus | None
    lease: str | None
    due_at: str | None
    next_attempt_at: str | None
    updated_at: str


WEBHOOK_ENDPOINTS: Final = Collection(
    "webhook_endpoints",
    owner="webhooks",
    document=WebhookEndpointDocument,
    changes=WebhookEndpointChanges,
)


WEBHOOK_REGISTRIES: Final = Collection(
    "webhook_registries",
    owner="webhooks",
    document=WebhookRegistryDocument,
    changes=WebhookRegistryChanges,
)


WEBHOOK_DELIVERIES: Final = Collection(
    "webhook_deliveries",
    owner="webhooks",
    document=WebhookDeliveryDocument,
    changes=WebhookDeliveryChanges,
    indexes=(Index(("endpoint_id",)), Index(("status", "due_at"), sparse=True), Index(("status", "updated_at"))),
)
