"""The documents of the tenants domain: tenants, their signing keys and clients."""

from __future__ import annotations

from typing import Final, Literal, NotRequired

from typing_extensions import TypedDict

from shared.ports.documents import Collection, Document, Index, NoChanges

TenantStatus = Literal["pending", "active", "suspended"]
"""`pending`: the realm that issues access tokens does not have the tenant's client yet."""


class TenantLimits(TypedDict):
    """The limits of a tenant. None means the gateway's own limit."""

    requests_per_second: int | None


class TenantDocument(Document):
    """A tenant. It is stored under its own tenant id.

    `user_review` is whether a new user is pending until the tenant activates it; documents of earlier versions do not
    have it.
    """

    name: str
    status: TenantStatus
    limits: TenantLimits
    user_review: NotRequired[bool]
    created_at: str


class TenantChanges(TypedDict, total=False):
    """The fields of a tenant that may change."""

    status: TenantStatus


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


class ClientRegistrationDocument(Document):
    """The registration of a client in the realm that issues access tokens. Its id is the client's.

    `secret` is sealed, and removed when the realm has it. `attempt` and `due_at` are those of a saga.
    """

    status: Literal["requested", "registered"]
    secret: str | None
    scopes: list[str]
    attempt: int
    due_at: str | None
    created_at: str
    updated_at: str


class ClientRegistrationChanges(TypedDict, total=False):
    """The fields of a registration that may change."""

    status: Literal["requested", "registered"]
    secret: str | None
    attempt: int
    due_at: str | None
    updated_at: str


TENANTS: Final = Collection("tenants", owner="tenants", document=TenantDocument, changes=TenantChanges)


SIGNING_KEYS: Final = Collection(
    "signing_keys",
    owner="tenants",
    document=SigningKeyDocument,
    changes=SigningKeyChanges,
    indexes=(Index(("status",)),),
)


CLIENTS: Final = Collection("clients", owner="tenants", document=ClientDocument, changes=NoChanges)


CLIENT_REGISTRATIONS: Final = Collection(
    "client_registrations",
    owner="tenants",
    document=ClientRegistrationDocument,
    changes=ClientRegistrationChanges,
    indexes=(Index(("status", "due_at"), sparse=True),),
)
