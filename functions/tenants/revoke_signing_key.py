"""POST /v1/tenants/{tenant_id}/signing-keys/{key_id}/revoke."""

from __future__ import annotations

from functions.tenants._signing_key import SigningKey, key_of_tenant, signing_key_resource
from shared.context.context import Context
from shared.core.problems import Problem
from shared.functions.decorators import http_function
from shared.http.operation import Access
from shared.identity.tenancy import PLATFORM_SCOPE
from shared.ports.documents import Query
from shared.records.tenants import SIGNING_KEYS


@http_function(
    "POST /v1/tenants/{tenant_id}/signing-keys/{key_id}/revoke",
    scope=PLATFORM_SCOPE,
    access=Access.PLATFORM,
    empty_body_is_object=True,
    problems=("illegal_state",),
)
async def revoke_signing_key(tenant_id: str, key_id: str, ctx: Context) -> SigningKey:
    """Revoke a signing key.

    Requests that are signed with it are refused from now on. The tenant's last active key cannot be revoked.
    """
    key = await key_of_tenant(ctx, tenant_id, key_id)
    if key["status"] == "active":
        active = await ctx.find(SIGNING_KEYS, Query(where={"status": "active"}, limit=2))
        others = [other for other in active if other["id"] != key_id]
        if not others:
            raise Problem("illegal_state", "This is the tenant's last active key. Create a new one first.")
        # Without this, two requests could each revoke one of the last two active keys, because the other is still
        # active.
        ctx.expect(SIGNING_KEYS, others[0])
    if key["status"] != "revoked":
        key = ctx.update(SIGNING_KEYS, key, status="revoked")
    return signing_key_resource(key, ctx.now_text)
