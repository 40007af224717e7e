"""POST /v1/tenants/{tenant_id}/signing-keys."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Final

from pydantic import Field

from events.tenants import SigningKeyRotated
from functions.tenants._onboarding import make_signing_key
from functions.tenants._signing_key import SigningKeyWithSecret, enter_tenant
from shared.context.context import Context
from shared.core.clock import format_time
from shared.functions.decorators import http_function
from shared.http.models import Command, NullIsDefault
from shared.http.operation import Access
from shared.identity.tenancy import PLATFORM_SCOPE
from shared.ports.documents import Query
from shared.records.tenants import SIGNING_KEYS

_MAX_ACTIVE_KEYS: Final = 100


class RotateSigningKey(Command):
    """How the key in use is replaced."""

    grace_seconds: Annotated[int, Field(ge=0, le=604_800), NullIsDefault()] = Field(
        default=86_400,
        description="For how many seconds the previous key stays valid beside the new one. The default is a day.",
    )


@http_function(
    "POST /v1/tenants/{tenant_id}/signing-keys",
    scope=PLATFORM_SCOPE,
    access=Access.PLATFORM,
    status=201,
    location="/v1/tenants/{tenant_id}/signing-keys/{result.key_id}",
    empty_body_is_object=True,
    sensitive=True,
)
async def rotate_signing_key(tenant_id: str, command: RotateSigningKey, ctx: Context) -> SigningKeyWithSecret:
    """Replace the signing key of a tenant.

    The new key is active at once. The previous key stays valid for `grace_seconds`.
    """
    await enter_tenant(ctx, tenant_id)
    ends_at = format_time(ctx.now + timedelta(seconds=command.grace_seconds))
    in_use = await ctx.find(SIGNING_KEYS, Query(where={"status": "active"}, limit=_MAX_ACTIVE_KEYS))
    for key in in_use:
        ctx.update(SIGNING_KEYS, key, status="grace", expires_at=ends_at)
    new = await make_signing_key(ctx)
    previous = in_use[-1]["id"] if in_use else None
    ctx.emit(
        SigningKeyRotated(
            tenant_id=tenant_id,
            key_id=new.document["id"],
            previous_key_id=previous,
            grace_until=ends_at if previous else None,
        )
    )
    return SigningKeyWithSecret(
        key_id=new.document["id"], secret=new.secret, status="active", created_at=new.document["created_at"]
    )
