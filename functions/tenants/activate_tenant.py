"""POST /v1/tenants/{tenant_id}/activate."""

from __future__ import annotations

from functions.tenants._suspension import change_status
from functions.tenants._tenant import Tenant
from shared.context.context import Context
from shared.functions.decorators import http_function
from shared.http.models import Command
from shared.http.operation import Access
from shared.identity.tenancy import PLATFORM_SCOPE


class ActivateTenant(Command):
    """An object without fields, or no body at all."""


@http_function(
    "POST /v1/tenants/{tenant_id}/activate",
    scope=PLATFORM_SCOPE,
    access=Access.PLATFORM,
    empty_body_is_object=True,
    problems=("illegal_state",),
)
async def activate_tenant(tenant_id: str, command: ActivateTenant, ctx: Context) -> Tenant:
    """Activate a suspended tenant.

    Its requests are accepted again.
    """
    del command
    return await change_status(ctx, tenant_id, "active")
