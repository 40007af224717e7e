"""A tenant's signing key as it is answered."""

from __future__ import annotations

from typing import Literal

from shared.context.context import Context
from shared.core.problems import Problem
from shared.http.models import Resource
from shared.identity.tenancy import key_status
from shared.records.tenants import SIGNING_KEYS, TENANTS, SigningKeyDocument

SigningKeyStatus = Literal["active", "grace", "revoked"]


class SigningKey(Resource):
    """A signing key; its secret is not shown again. `expires_at` is when its grace ends."""

    key_id: str
    status: SigningKeyStatus
    created_at: str
    expires_at: str | None


class SigningKeyWithSecret(Resource):
    """A new signing key, with the secret that is shown this once."""

    key_id: str
    secret: str
    status: SigningKeyStatus
    created_at: str


def signing_key_resource(key: SigningKeyDocument, now_text: str) -> SigningKey:
    """The key as it is answered: a grace that has ended is a revocation."""
    return SigningKey(
        key_id=key["id"],
        status=key_status(key, now_text),
        created_at=key["created_at"],
        expires_at=key["expires_at"],
    )


async def enter_tenant(ctx: Context, tenant_id: str) -> None:
    """Go on for the tenant that the path names. Raises Problem `not_found`."""
    ctx.scope_to(tenant_id)
    await ctx.required(TENANTS, tenant_id)


async def key_of_tenant(ctx: Context, tenant_id: str, key_id: str) -> SigningKeyDocument:
    """A tenant's key. Raises Problem `not_found`, whether the tenant or the key is unknown."""
    await enter_tenant(ctx, tenant_id)
    key = await ctx.get(SIGNING_KEYS, key_id)
    if key is None:
        raise Problem("not_found", f"There is no {key_id}.")
    return key
