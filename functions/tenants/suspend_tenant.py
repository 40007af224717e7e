"""POST /v1/tenants/{tenant_id}/suspend."""

from __future__ import annotations

from functions.tenants._suspension import change_status
from functions.tenants._tenant import Tenant
from shared.context.context import Context
from shared.functions.decorators import http_function
from shared.http.models import Command
from shared.http.operation import Access
from shared.identity.tenancy import PLATFORM_SCOPE


class SuspendTenant(Command):
    """An object without fields, or no body at all."""


@http_function(
    "POST /v1/tenants/{tenant_id}/suspend",
    scope=PLATFORM_SCOPE,
    access=Access.PLATFORM,
    empty_body_is_object=True,
    problems=("illegal_state",),
)
async def suspend_tenant(tenant_id: str, command: SuspendTenant, ctx: Context) -> Tenant:
    """Suspend a tenant.

    From now on its requests are refused as `tenant_suspended`, in every process. Payments, refunds and deposits that
    were accepted go on to their end, and callbacks of providers are accepted.
    """
    del command
    return await change_status(ctx, tenant_id, "suspended")
