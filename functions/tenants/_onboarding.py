"""Creating a tenant with its first client, signing key, system accounts of the ledger, and limits."""

from __future__ import annotations

from dataclasses import dataclass

from events.tenants import ClientRequested, TenantCreated
from shared.context import saga
from shared.context.context import Context
from shared.core.problems import Problem
from shared.identity.tenancy import TENANT_SCOPES
from shared.identity.tokens import client_secret_digest
from shared.ports.documents import PLATFORM
from shared.records.system_accounts import HOME_CURRENCY, SYSTEM_ACCOUNTS, system_accounts
from shared.records.tenants import (
    CLIENT_REGISTRATIONS,
    CLIENTS,
    SIGNING_KEYS,
    TENANTS,
    ClientDocument,
    ClientRegistrationDocument,
    SigningKeyDocument,
    TenantDocument,
    TenantLimits,
)


@dataclass(frozen=True, slots=True)
class NewSigningKey:
    """A signing key and its secret. The stored document has the secret only in sealed form."""

    document: SigningKeyDocument
    secret: str


@dataclass(frozen=True, slots=True)
class NewTenant:
    """A new tenant with its secrets, which are shown once."""

    document: TenantDocument
    client_id: str
    client_secret: str
    signing_key: NewSigningKey


async def make_signing_key(ctx: Context) -> NewSigningKey:
    """Insert a new active signing key, with its secret sealed for the tenant, and return both."""
    secret = ctx.secrets.new()
    (sealed,) = await ctx.secrets.seal([secret], "signing-secrets")
    document: SigningKeyDocument = {
        "id": ctx.new_id("key"),
        "tenant_id": ctx.tenant_id,
        "version": 1,
        "secret": sealed,
        "status": "active",
        "expires_at": None,
        "created_at": ctx.now_text,
    }
    return NewSigningKey(ctx.insert(SIGNING_KEYS, document), secret)


async def onboard(
    ctx: Context, tenant_id: str, name: str, limits: TenantLimits, *, user_review: bool = False
) -> NewTenant:
    """Create a tenant and all that belongs to it in one commit. The context belongs to the new tenant afterwards.

    When a realm on a server issues the access tokens, the tenant is pending until the realm has its client.

    Raises Problem `already_exists` when a tenant has the id.
    """
    ctx.scope_to(tenant_id)
    if await ctx.get(TENANTS, tenant_id) is not None:
        raise Problem.at("already_exists", "/id", f"There is a tenant {tenant_id} already.")
    document: TenantDocument = {
        "id": tenant_id,
        "tenant_id": tenant_id,
        "version": 1,
        "name": name,
        "status": "active" if ctx.clients is None else "pending",
        "limits": limits,
        "user_review": user_review,
        "created_at": ctx.now_text,
    }
    tenant = ctx.insert(TENANTS, document)
    for account in system_accounts(tenant_id, HOME_CURRENCY, ctx.now_text):
        ctx.insert(SYSTEM_ACCOUNTS, account)
    signing_key = await make_signing_key(ctx)
    client_id, client_secret = _make_client(ctx)
    if ctx.clients is not None:
        await _request_registration(ctx, client_id, client_secret)
    ctx.emit(TenantCreated(tenant_id=tenant_id, name=name))
    return NewTenant(tenant, client_id, client_secret, signing_key)


def _make_client(ctx: Context) -> tuple[str, str]:
    client_id, secret = ctx.new_id("cli"), ctx.secrets.new()
    # The token issuer finds a client before it knows its tenant, so clients are stored under the platform.
    document: ClientDocument = {
        "id": client_id,
        "tenant_id": PLATFORM,
        "version": 1,
        "secret_digest": client_secret_digest(secret),
        "client_tenant_id": ctx.tenant_id,
        "scopes": list(TENANT_SCOPES),
        "created_at": ctx.now_text,
    }
    ctx.insert(CLIENTS, document, tenant_id=PLATFORM)
    return client_id, secret


async def _request_registration(ctx: Context, client_id: str, secret: str) -> None:
    (sealed,) = await ctx.secrets.seal([secret], "responses")
    document: ClientRegistrationDocument = {
        "id": client_id,
        "tenant_id": ctx.tenant_id,
        "version": 1,
        "status": "requested",
        "secret": sealed,
        "scopes": list(TENANT_SCOPES),
        "attempt": 1,
        "due_at": await saga.begin(ctx, "client", client_id),
        "created_at": ctx.now_text,
        "updated_at": ctx.now_text,
    }
    ctx.insert(CLIENT_REGISTRATIONS, document)
    ctx.emit(ClientRequested(tenant_id=ctx.tenant_id, client_id=client_id))
