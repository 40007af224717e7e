"""The tenant resource of the HTTP API."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from shared.http.models import Command, CreatedAt, Resource
from shared.records.tenants import TenantDocument, TenantStatus

USER_REVIEW: Final = "Whether a new user is `pending` until the tenant activates it; otherwise it is active at once."
RequestsPerSecond = Annotated[int, Field(ge=1, le=20_000)]


class LimitsCommand(Command):
    """Limits of the tenant that replace the gateway's."""

    requests_per_second: RequestsPerSecond | None = Field(
        default=None,
        description="The requests that the tenant may send in a second, and at once. Without it, the gateway's limit.",
    )


class Limits(Resource):
    """Limits of the tenant that replace the gateway's."""

    requests_per_second: int | None = Field(
        description="The requests that the tenant may send in a second; null when the gateway's limit holds."
    )


class Tenant(Resource):
    """A tenant: a business with its own users, accounts and ledger."""

    id: str = Field(description="The tenant's id.")
    name: str = Field(description="The tenant's name.")
    status: TenantStatus = Field(
        description="`pending` until the realm that issues access tokens has the tenant's client; `active`; or "
        "`suspended`, when its requests are refused."
    )
    limits: Limits = Field(description="Limits that replace the gateway's for this tenant.")
    user_review: bool = Field(description=USER_REVIEW)
    created_at: CreatedAt


def limits_resource(tenant: TenantDocument) -> Limits:
    """Return the resource of a tenant's limits."""
    return Limits(requests_per_second=tenant["limits"]["requests_per_second"])


def tenant_resource(tenant: TenantDocument) -> Tenant:
    """Return the resource of a tenant."""
    return Tenant(
        id=tenant["id"],
        name=tenant["name"],
        status=tenant["status"],
        limits=limits_resource(tenant),
        user_review=tenant.get("user_review", False),
        created_at=tenant["created_at"],
    )
