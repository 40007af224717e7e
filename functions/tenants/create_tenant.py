"""POST /v1/tenants."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from functions.tenants._onboarding import onboard
from functions.tenants._tenant import LimitsCommand, Tenant, limits_resource
from shared.context.context import Context
from shared.functions.decorators import http_function
from shared.http.models import Command, Name, Resource
from shared.http.operation import Access
from shared.identity.tenancy import PLATFORM_SCOPE


class CreateTenant(Command):
    """A tenant to take on."""

    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{1,62}$")] | None = None
    name: Name
    limits: LimitsCommand | None = None


class ClientCredentials(Resource):
    """What the tenant's first client gets tokens with."""

    client_id: str
    client_secret: str


class SigningCredentials(Resource):
    """What the tenant signs its requests with."""

    key_id: str
    secret: str
    status: Literal["active"]


class TenantWithSecrets(Tenant):
    """A new tenant, with the secrets that are shown this once."""

    client: ClientCredentials
    signing_key: SigningCredentials


@http_function(
    "POST /v1/tenants",
    scope=PLATFORM_SCOPE,
    access=Access.PLATFORM,
    status=201,
    location="/v1/tenants/{result.id}",
    sensitive=True,
    problems=("already_exists",),
)
async def create_tenant(command: CreateTenant, ctx: Context) -> TenantWithSecrets:
    """Take a tenant on: its first client, signing key, limits and system ledger accounts."""
    # Ids made here must fit the form that tenants may choose, which has no underscore.
    tenant_id = command.id or ctx.new_id("ten").replace("_", "-")
    limit = command.limits.requests_per_second if command.limits is not None else None
    new = await onboard(ctx, tenant_id, command.name, {"requests_per_second": limit})
    return TenantWithSecrets(
        id=new.document["id"],
        name=new.document["name"],
        status=new.document["status"],
        limits=limits_resource(new.document),
        created_at=new.document["created_at"],
        client=ClientCredentials(client_id=new.client_id, client_secret=new.client_secret),
        signing_key=SigningCredentials(
            key_id=new.signing_key.document["id"], secret=new.signing_key.secret, status="active"
        ),
    )
