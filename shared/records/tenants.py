"""The documents of the tenants domain: tenants, their signing keys and clients."""

from __future__ import annotations

from typing import Final, Literal

from typing_extensions import TypedDict

from shared.ports.documents import Collection, Document, Index, NoChanges


class TenantLimits(TypedDict):
    """What a tenant may do; None leaves the gateway's own limit in force."""

    requests_per_second: int | None


class TenantDocument(Document):
    """A tenant; kept under its own id."""

    name: str
    status: Literal["active", "suspended"]
    limits: TenantLimits
    created_at: str


class SigningKeyDocument(Document):
    """An HMAC key of a tenant. `secret` is sealed; `expires_at` is when its grace ends."""

    secret: str
    status: Literal["active", "grace", "revoked"]
    expires_at: str | None
    created_at: str


class SigningKeyChanges(TypedDict, total=False):
    """What may change of a signing key."""

    status: Literal["active", "grace", "revoked"]
    expires_at: str | None


class ClientDocument(Document):
    """A technical client that may ask for tokens. Kept under the platform; only a digest of its secret is stored."""

    secret_digest: str
    client_tenant_id: str | None
    scopes: list[str]
    created_at: str


TENANTS: Final = Collection("tenants", owner="tenants", document=TenantDocument, changes=NoChanges)


SIGNING_KEYS: Final = Collection(
    "signing_keys",
    owner="tenants",
    document=SigningKeyDocument,
    changes=SigningKeyChanges,
    indexes=(Index(("status",)),),
)


CLIENTS: Final = Collection("clients", owner="tenants", document=ClientDocument, changes=NoChanges)
