"""A tenant as it is answered."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from shared.http.models import Command, Resource
from shared.records.tenants import TenantDocument

RequestsPerSecond = Annotated[int, Field(ge=1, le=20_000)]


class LimitsCommand(Command):
    """Limits that a tenant is given; one left out is the gateway's own."""

    requests_per_second: RequestsPerSecond | None = None


class Limits(Resource):
    """A tenant's own limits; null leaves the gateway's in force."""

    requests_per_second: int | None


class Tenant(Resource):
    """A tenant."""

    id: str
    name: str
    status: Literal["active", "suspended"]
    limits: Limits
    created_at: str


def limits_resource(tenant: TenantDocument) -> Limits:
    """The limits as they are answered."""
    return Limits(requests_per_second=tenant["limits"]["requests_per_second"])


def tenant_resource(tenant: TenantDocument) -> Tenant:
    """The tenant as it is answered."""
    return Tenant(
        id=tenant["id"],
        name=tenant["name"],
        status=tenant["status"],
        limits=limits_resource(tenant),
        created_at=tenant["created_at"],
    )
