"""Facts about webhooks: the deliveries of events to a tenant's endpoints."""

from typing import ClassVar, Literal

from events import topics
from shared.core.envelope import Event


class WebhookEvent(Event):
    """The fields of every fact about a delivery. `event_id` and `event_type` are those of the delivered event."""

    topic: ClassVar[str] = topics.WEBHOOKS
    subject_field: ClassVar[str] = "delivery_id"

    delivery_id: str
    endpoint_id: str
    event_id: str
    event_type: str


class WebhookDeliveryDue(WebhookEvent):
    """An attempt to deliver is due now: the delivery is new, or the tenant has requested a resend."""

    type: ClassVar[str] = "lastro.webhook.delivery_due.v1"


class WebhookDelivered(WebhookEvent):
    """The endpoint has accepted the event, with a 2xx status. `attempts` is the number of attempts so far."""

    type: ClassVar[str] = "lastro.webhook.delivered.v1"
    terminal: ClassVar[bool] = True

    attempts: int


class WebhookExhausted(WebhookEvent):
    """No further attempt will be made: all of them failed, or the endpoint was disabled or deleted."""

    type: ClassVar[str] = "lastro.webhook.exhausted.v1"
    terminal: ClassVar[bool] = True

    attempts: int


class WebhookEndpointDisabled(Event):
    """An endpoint was disabled: it has failed for days (`failing`), or it answered 410 (`gone`)."""

    type: ClassVar[str] = "lastro.webhook.endpoint_disabled.v1"
    topic: ClassVar[str] = topics.WEBHOOKS
    subject_field: ClassVar[str] = "endpoint_id"
    terminal: ClassVar[bool] = True

    endpoint_id: str
    reason: Literal["failing", "gone"]
    failing_since: str
