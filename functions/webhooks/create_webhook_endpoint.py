"""POST /v1/webhook-endpoints."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from functions.webhooks._endpoint import WebhookEndpointWithSecret, endpoint_with_secret
from functions.webhooks._patterns import PATTERN, UNSENT, matches
from functions.webhooks._registry import subscribe
from shared.context.context import Context
from shared.core.problems import Problem
from shared.functions.decorators import http_function
from shared.http.models import Command
from shared.ports.documents import Query
from shared.records.webhooks import WEBHOOK_ENDPOINTS, WebhookEndpointDocument


def _url(text: str) -> str:
    if not text.isascii() or any(sign <= " " or sign in '"<>\\^`{|}\x7f' for sign in text):
        raise ValueError("the URL must have only the characters of RFC 3986; encode others with %")
    parts = urlsplit(text)
    try:
        port = parts.port
    except ValueError:
        raise ValueError("the port must be a number from 1 to 65535") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise ValueError("the URL must begin with https:// and a host name")
    if "%" in parts.hostname:
        raise ValueError("the host must be a name or an address without % (no escapes, no zone of IPv6)")
    if parts.username is not None or parts.password is not None:
        raise ValueError("the URL must not have a user or password; requests are signed")
    if "#" in text:
        raise ValueError("the URL must not have a fragment, which is never sent")
    return text


def _pattern(text: str) -> str:
    if PATTERN.fullmatch(text) is None:
        raise ValueError("the value must be an event type, `prefix.*` or `*`")
    if text in UNSENT:
        raise ValueError(f"the type {text} is about deliveries and is not delivered itself")
    # Imported here, because the models of all events are many modules.
    from events.catalogue import CATALOGUE

    if text != "*" and not any(matches((text,), type) for type in CATALOGUE.keys() - UNSENT):
        raise ValueError(f"there is no event type {text}")
    return text


def _without_repetition(patterns: list[str]) -> list[str]:
    return list(dict.fromkeys(patterns))


EventPattern = Annotated[str, Field(min_length=1, max_length=128), AfterValidator(_pattern)]


class CreateWebhookEndpoint(Command):
    """The address of the endpoint, and the events that it wants."""

    url: Annotated[str, Field(max_length=2048), AfterValidator(_url)] = Field(
        description="The address, `https://…`. It must be public, and answer with 2xx within 15 seconds."
    )
    events: Annotated[list[EventPattern], AfterValidator(_without_repetition)] = Field(
        min_length=1,
        max_length=100,
        description="The events to send: types (`lastro.payment.settled.v1`), `prefix.*` (`lastro.payment.*`), or `*`.",
    )


@http_function(
    "POST /v1/webhook-endpoints",
    scope="webhooks:write",
    status=201,
    location="/v1/webhook-endpoints/{result.id}",
    sensitive=True,
    problems=("illegal_state",),
)
async def create_webhook_endpoint(command: CreateWebhookEndpoint, ctx: Context) -> WebhookEndpointWithSecret:
    """Create a webhook endpoint.

    Events of the chosen types are sent to it from now on, signed by Standard Webhooks with the returned secret.
    """
    refusal = await ctx.outgoing.refusal(command.url)
    if refusal is not None:
        raise Problem.at("validation_failed", "/url", refusal)
    most = ctx.settings.webhooks_endpoints
    if len(await ctx.find(WEBHOOK_ENDPOINTS, Query(limit=most))) >= most:
        raise Problem("illegal_state", f"A tenant has at most {most} webhook endpoints. Delete one first.")
    secret = ctx.secrets.new_webhook_secret()
    (sealed,) = await ctx.secrets.seal([secret], "webhook-secrets")
    endpoint: WebhookEndpointDocument = {
        "id": ctx.new_id("whe"),
        "tenant_id": ctx.tenant_id,
        "version": 1,
        "url": command.url,
        "events": command.events,
        "status": "active",
        "secret": sealed,
        "previous_secret": None,
        "previous_expires_at": None,
        "failing_since": None,
        "created_at": ctx.now_text,
        "updated_at": ctx.now_text,
    }
    ctx.insert(WEBHOOK_ENDPOINTS, endpoint)
    await subscribe(endpoint, ctx)
    return endpoint_with_secret(endpoint, secret)
