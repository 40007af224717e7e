"""POST /v1/webhook-endpoints/{endpoint_id}/rotate-secret."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from functions.webhooks._endpoint import WebhookEndpointWithSecret, endpoint_with_secret
from shared.context.context import Context
from shared.core.clock import format_time
from shared.functions.decorators import http_function
from shared.http.models import Command, NullIsDefault
from shared.records.webhooks import WEBHOOK_ENDPOINTS


class RotateWebhookSecret(Command):
    """How the secret in use is replaced."""

    grace_seconds: Annotated[int, Field(ge=0, le=604_800), NullIsDefault()] = Field(
        default=86_400,
        description="For how many seconds events are signed with the previous secret, too. The default is a day.",
    )


@http_function(
    "POST /v1/webhook-endpoints/{endpoint_id}/rotate-secret",
    scope="webhooks:write",
    empty_body_is_object=True,
    sensitive=True,
)
async def rotate_webhook_secret(
    endpoint_id: str, command: RotateWebhookSecret, ctx: Context
) -> WebhookEndpointWithSecret:
    """Replace the secret of a webhook endpoint.

    Events have two signatures, with the new secret and the previous one, until `grace_seconds` have passed; a receiver
    accepts either. A secret that was replaced before is not used any more.
    """
    endpoint = await ctx.required(WEBHOOK_ENDPOINTS, endpoint_id)
    secret = ctx.secrets.new_webhook_secret()
    (sealed,) = await ctx.secrets.seal([secret], "webhook-secrets")
    has_grace = command.grace_seconds > 0
    endpoint = ctx.update(
        WEBHOOK_ENDPOINTS,
        endpoint,
        secret=sealed,
        previous_secret=endpoint["secret"] if has_grace else None,
        previous_expires_at=format_time(ctx.now + timedelta(seconds=command.grace_seconds)) if has_grace else None,
        updated_at=ctx.now_text,
    )
    return endpoint_with_secret(endpoint, secret)
