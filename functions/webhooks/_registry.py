"""The registry of a tenant's subscriptions: which active endpoints want which events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from functions.webhooks._patterns import UNSENT, matches
from shared.context.context import Context
from shared.core.envelope import Envelope
from shared.records.webhooks import (
    WEBHOOK_REGISTRIES,
    SubscriptionDocument,
    WebhookEndpointDocument,
    WebhookRegistryDocument,
)


async def subscribe(endpoint: WebhookEndpointDocument, ctx: Context) -> None:
    """Add an active endpoint to the registry, in the commit of the context."""
    registry = await ctx.get(WEBHOOK_REGISTRIES, ctx.tenant_id)
    added: SubscriptionDocument = {"endpoint_id": endpoint["id"], "events": endpoint["events"]}
    if registry is None:
        first: WebhookRegistryDocument = {
            "id": ctx.tenant_id,
            "tenant_id": ctx.tenant_id,
            "version": 1,
            "subscriptions": [added],
        }
        ctx.insert(WEBHOOK_REGISTRIES, first)
    else:
        others = [known for known in registry["subscriptions"] if known["endpoint_id"] != endpoint["id"]]
        ctx.update(WEBHOOK_REGISTRIES, registry, subscriptions=[*others, added])


async def unsubscribe(endpoint_id: str, ctx: Context) -> None:
    """Remove an endpoint from the registry, in the commit of the context."""
    registry = await ctx.get(WEBHOOK_REGISTRIES, ctx.tenant_id)
    if registry is not None:
        others = [known for known in registry["subscriptions"] if known["endpoint_id"] != endpoint_id]
        ctx.update(WEBHOOK_REGISTRIES, registry, subscriptions=others)


def wanting(registry: WebhookRegistryDocument | None, type: str) -> list[str]:
    """Return the ids of the endpoints that want events of a type."""
    if registry is None or type in UNSENT:
        return []
    return [known["endpoint_id"] for known in registry["subscriptions"] if matches(known["events"], type)]


def is_unwanted(envelope: Envelope, read: Callable[..., Any]) -> bool:
    """Return whether no endpoint of the event's tenant wants it. `read` returns a document without suspension."""
    tenant_id = envelope.tenant_id
    if not tenant_id:
        return True
    registry = read(WEBHOOK_REGISTRIES, tenant_id, tenant_id)
    return registry is None or not wanting(registry, envelope.type)
