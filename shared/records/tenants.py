"""The documents of the tenants domain: tenants, their signing keys and clients."""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict

from shared.ports.documents import Collection, Index


class TenantLimits(TypedDict):
    """What a tenant may do; None leaves the gateway's own limit in force."""

    requests_per_second: int | None


class TenantDocument(TypedDict):
    """A tenant; kept under its own id."""

    id: str
    tenant_id: str
    version: int
    name: str
    status: Literal["active", "suspended"]
    limits: TenantLimits
    created_at: str


class SigningKeyDocument(TypedDict):
    """An HMAC key of a tenant. `secret` is sealed; `expires_at` is when its grace ends."""

    id: str
    tenant_id: str
    version: int
    secret: str
    status: Literal["active", "grace", "revoked"]
    expires_at: str | None
    created_at: str


class ClientDocument(TypedDict):
    """A technical client that may ask for tokens. Kept under the platform; only a digest of its secret is stored."""

    id: str
    tenant_id: str
    version: int
    secret_digest: str
    client_tenant_id: str | None
    scopes: list[str]
    created_at: NotRequired[str]


TENANTS: Collection[TenantDocument] = Collection("tenants")


SIGNING_KEYS: Collection[SigningKeyDocument] = Collection("signing_keys", indexes=(Index(("status",)),))


CLIENTS: Collection[ClientDocument] = Collection("clients")
