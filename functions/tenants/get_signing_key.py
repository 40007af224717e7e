"""GET /v1/tenants/{tenant_id}/signing-keys/{key_id}."""

from __future__ import annotations

from functions.tenants._signing_key import SigningKey, key_of_tenant, signing_key_resource
from shared.context.context import Context
from shared.functions.decorators import http_function
from shared.http.operation import Access
from shared.identity.tenancy import PLATFORM_SCOPE


@http_function("GET /v1/tenants/{tenant_id}/signing-keys/{key_id}", scope=PLATFORM_SCOPE, access=Access.PLATFORM)
async def get_signing_key(tenant_id: str, key_id: str, ctx: Context) -> SigningKey:
    """Retrieve a signing key, without its secret."""
    return signing_key_resource(await key_of_tenant(ctx, tenant_id, key_id), ctx.now_text)
