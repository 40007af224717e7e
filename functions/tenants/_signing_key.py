"""The signing key resource of the HTTP API."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field

from shared.context.context import Context
from shared.core.problems import Problem
from shared.http.models import CreatedAt, Resource, Time
from shared.identity.tenancy import key_status
from shared.records.tenants import SIGNING_KEYS, TENANTS, SigningKeyDocument

SigningKeyStatus = Literal["active", "grace", "revoked"]
KEY_STATUS: Final = (
    "`active` signs; `grace` was replaced and is accepted until its grace period ends; `revoked` is refused."
)


class SigningKey(Resource):
    """A signing key, without its secret."""

    key_id: str = Field(description="The key's id, sent as `X-Key-Id`.")
    status: SigningKeyStatus = Field(description=KEY_STATUS)
    created_at: CreatedAt
    expires_at: Time | None = Field(description="When the key's grace period ends; null for a key without one.")


class SigningKeyWithSecret(Resource):
    """A new signing key with its secret. The secret is shown in this response and its idempotent replay only."""

    key_id: str = Field(description="The key's id, sent as `X-Key-Id`.")
    secret: str = Field(description="The secret. Its UTF-8 bytes are the key of the HMAC.")
    status: SigningKeyStatus = Field(description=KEY_STATUS)
    created_at: CreatedAt


def signing_key_resource(key: SigningKeyDocument, now_text: str) -> SigningKey:
    """Return the resource of a key. A key whose grace period has ended is shown as revoked."""
    return SigningKey(
        key_id=key["id"],
        status=key_status(key, now_text),
        created_at=key["created_at"],
        expires_at=key["expires_at"],
    )


async def enter_tenant(ctx: Context, tenant_id: str) -> None:
    """Scope the context to the tenant in the path. Raises Problem `not_found` when there is none."""
    ctx.scope_to(tenant_id)
    await ctx.required(TENANTS, tenant_id)


async def key_of_tenant(ctx: Context, tenant_id: str, key_id: str) -> SigningKeyDocument:
    """Scope the context to the tenant and return its key. Raises Problem `not_found` when either is unknown."""
    await enter_tenant(ctx, tenant_id)
    key = await ctx.get(SIGNING_KEYS, key_id)
    if key is None:
        raise Problem("not_found", f"There is no {key_id}.")
    return key
