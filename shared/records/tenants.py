"""The documents of the tenants domain: tenants, their signing keys and clients."""

from __future__ import annotations

from typing import Final, Literal

from typing_extensions import TypedDict

from shared.ports.documents import Collection, Document, Index, NoChanges


class TenantLimits(TypedDict):
    """The limits of a tenant. None means the gateway's own limit."""

    requests_per_second: int | None


class TenantDocument(Document):
    """A tenant. It is stored under its own tenant id."""

    name: str
    status: Literal["active", "suspended"]
    limits: TenantLimits
    created_at: str


class SigningKeyDocument(Document):
    """An HMAC key of a tenant. `secret` is sealed; `expires_at` is the end of its grace period, or None."""

    secret: str
    status: Literal["active", "grace", "revoked"]
    expires_at: str | None
    created_at: str


class SigningKeyChanges(TypedDict, total=False):
    """The fields of a signing key that may change."""

    status: Literal["active", "grace", "revoked"]
    expires_at: str | None


class ClientDocument(Document):
    """A client that may request tokens. It is stored under the platform, with only a digest of its secret."""

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
