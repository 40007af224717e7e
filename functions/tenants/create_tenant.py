"""POST /v1/tenants."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from functions.tenants._onboarding import onboard
from functions.tenants._tenant import USER_REVIEW, LimitsCommand, Tenant, limits_resource
from shared.context.context import Context
from shared.functions.decorators import http_function
from shared.http.models import Command, Name, NullIsDefault, Resource
from shared.http.operation import Access
from shared.identity.tenancy import PLATFORM_SCOPE
from shared.records.tenants import TENANTS


class CreateTenant(Command):
    """A new tenant: its name, and its limits where they differ from the gateway's."""

    id: str | None = Field(
        default=None,
        pattern=r"^[a-z0-9][a-z0-9-]{1,62}$",
        description="The tenant's id. Without it, the platform makes one.",
    )
    name: Name = Field(description="The tenant's name.")
    limits: LimitsCommand | None = Field(default=None, description="Limits that replace the gateway's.")
    user_review: Annotated[bool, NullIsDefault()] = Field(default=False, description=USER_REVIEW)


class ClientCredentials(Resource):
    """The credentials of the tenant's first client, for the token endpoint."""

    client_id: str = Field(description="The client's id.")
    client_secret: str = Field(description="The client's secret, shown in this response only.")


class SigningCredentials(Resource):
    """The tenant's first key for signing requests."""

    key_id: str = Field(description="The key's id, sent as `X-Key-Id`.")
    secret: str = Field(description="The secret, shown in this response only. Its UTF-8 bytes are the key of the HMAC.")
    status: Literal["active"] = Field(description="A new key is `active`.")


class TenantWithSecrets(Tenant):
    """A new tenant with its secrets. They are shown in this response and its idempotent replay only."""

    client: ClientCredentials = Field(description="The tenant's first client; it has every scope of a tenant.")
    signing_key: SigningCredentials = Field(description="The key that the tenant signs its requests with.")


async def tenant_progress(ctx: Context, last: TenantWithSecrets) -> tuple[TenantWithSecrets, bool]:
    """Return the tenant as it is now, and whether its client is registered."""
    ctx.scope_to(last.id)
    tenant = await ctx.required(TENANTS, last.id)
    return last.model_copy(update={"status": tenant["status"]}), tenant["status"] != "pending"


@http_function(
    "POST /v1/tenants",
    scope=PLATFORM_SCOPE,
    access=Access.PLATFORM,
    status=201,
    location="/v1/tenants/{result.id}",
    sensitive=True,
    progress=tenant_progress,
    problems=("already_exists",),
)
async def create_tenant(command: CreateTenant, ctx: Context) -> TenantWithSecrets:
    """Create a tenant.

    The tenant gets its first client, a signing key, its limits and the system accounts of its ledger. The secrets are
    in this response only. When a realm on a server issues the access tokens, the tenant is `pending` until the realm
    has the client; `Prefer: wait` waits for it.
    """
    # A generated id must have the form of the ids that a request may choose, which has no underscore.
    tenant_id = command.id or ctx.new_id("ten").replace("_", "-")
    limit = command.limits.requests_per_second if command.limits is not None else None
    new = await onboard(ctx, tenant_id, command.name, {"requests_per_second": limit}, user_review=command.user_review)
    return TenantWithSecrets(
        id=new.document["id"],
        name=new.document["name"],
        status=new.document["status"],
        limits=limits_resource(new.document),
        user_review=command.user_review,
        created_at=new.document["created_at"],
        client=ClientCredentials(client_id=new.client_id, client_secret=new.client_secret),
        signing_key=SigningCredentials(
            key_id=new.signing_key.document["id"], secret=new.signing_key.secret, status="active"
        ),
    )
