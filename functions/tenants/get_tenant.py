"""GET /v1/tenants/{tenant_id}."""

from __future__ import annotations

from functions.tenants._tenant import Tenant, tenant_resource
from shared.context.context import Context
from shared.functions.decorators import http_function
from shared.http.operation import Access
from shared.identity.tenancy import PLATFORM_SCOPE
from shared.records.tenants import TENANTS


@http_function("GET /v1/tenants/{tenant_id}", scope=PLATFORM_SCOPE, access=Access.PLATFORM)
async def get_tenant(tenant_id: str, ctx: Context) -> Tenant:
    """Retrieve a tenant, without its secrets."""
    ctx.scope_to(tenant_id)
    return tenant_resource(await ctx.required(TENANTS, tenant_id))
