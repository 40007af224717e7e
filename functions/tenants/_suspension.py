"""The status of a tenant, which admission reads with each of its requests."""

from __future__ import annotations

from typing import Final

from functions.tenants._tenant import Tenant, tenant_resource
from shared.context.context import Context
from shared.core.problems import Problem
from shared.records.tenants import TENANTS, TenantStatus

TENANT_STATUS_CHANGES: Final[dict[TenantStatus, frozenset[TenantStatus]]] = {
    "pending": frozenset(),  # register_client ends it
    "active": frozenset({"suspended"}),
    "suspended": frozenset({"active"}),
}
"""The statuses that may follow each status."""


async def change_status(ctx: Context, tenant_id: str, status: TenantStatus) -> Tenant:
    """Change the status of the tenant in the path. Raises Problem `not_found` or `illegal_state`."""
    ctx.scope_to(tenant_id)
    tenant = await ctx.required(TENANTS, tenant_id)
    if status not in TENANT_STATUS_CHANGES[tenant["status"]]:
        raise Problem("illegal_state", f"The tenant is {tenant['status']}; it cannot be made {status}.")
    ctx.log.warning("tenant %s is %s from now on", tenant_id, status)
    return tenant_resource(ctx.update(TENANTS, tenant, status=status))
