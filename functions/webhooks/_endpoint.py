"""The webhook endpoint resource of the HTTP API."""

from __future__ import annotations

from pydantic import Field

from shared.http.models import CreatedAt, Resource
from shared.records.webhooks import EndpointStatus, WebhookEndpointDocument

STATUS = (
    "`active` receives events; `disabled` has failed for days, or has answered 410, and receives none until it is "
    "enabled again."
)


class WebhookEndpoint(Resource):
    """An address of the tenant to which events are sent."""

    id: str = Field(description="The endpoint's id, `whe_…`.")
    url: str = Field(description="The address to which events are sent with POST.")
    events: list[str] = Field(description="The events that are sent: types, `prefix.*`, or `*` for all.")
    status: EndpointStatus = Field(description=STATUS)
    created_at: CreatedAt


class WebhookEndpointWithSecret(WebhookEndpoint):
    """A webhook endpoint with a new secret, which is shown in this response and its idempotent replay only."""

    secret: str = Field(
        description="The secret that signs the events, `whsec_…`, as the libraries of Standard Webhooks take it."
    )


def endpoint_resource(endpoint: WebhookEndpointDocument) -> WebhookEndpoint:
    """Return the resource of an endpoint."""
    return WebhookEndpoint(
        id=endpoint["id"],
        url=endpoint["url"],
        events=endpoint["events"],
        status=endpoint["status"],
        created_at=endpoint["created_at"],
    )


def endpoint_with_secret(endpoint: WebhookEndpointDocument, secret: str) -> WebhookEndpointWithSecret:
    """Return the resource of an endpoint with its new secret."""
    return WebhookEndpointWithSecret(**endpoint_resource(endpoint).model_dump(), secret=secret)
