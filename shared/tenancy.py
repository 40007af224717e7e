"""Tenants and their signing keys, as every function needs them to admit a request."""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal, NotRequired, TypedDict

from shared.ports.documents import PLATFORM, Collection, Documents, Index
from shared.ports.secrets import Secrets


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

TENANT_SCOPES = (
    "users:read",
    "users:write",
    "accounts:read",
    "accounts:write",
    "statements:read",
    "payments:read",
    "payments:write",
    "deposits:read",
    "deposits:write",
    "pix:read",
    "pix:write",
    "ledger:read",
    "webhooks:read",
    "webhooks:write",
    "operations:read",
    "operations:write",
)
PLATFORM_SCOPE = "platform:admin"


def key_status(key: SigningKeyDocument, now_text: str) -> Literal["active", "grace", "revoked"]:
    """What a key is worth at a time: grace ends by itself."""
    expires_at = key["expires_at"]
    if key["status"] == "grace" and expires_at is not None and expires_at <= now_text:
        return "revoked"
    return key["status"]


class SigningSecrets:
    """Opened secrets of the keys in use, so that a request does not open its key anew. Bounded; newest kept."""

    def __init__(self, secrets: Secrets, limit: int = 4096) -> None:
        self._secrets = secrets
        self._limit = limit
        self._opened: OrderedDict[str, str] = OrderedDict()

    async def secret_of(self, key: SigningKeyDocument) -> str:
        """The secret as it was shown to the tenant."""
        sealed = key["secret"]
        known = self._opened.get(sealed)
        if known is None:
            known = (await self._secrets.open([sealed], key["tenant_id"]))[0]
            self._opened[sealed] = known
            if len(self._opened) > self._limit:
                self._opened.popitem(last=False)
        return known


async def tenant_of(documents: Documents, tenant_id: str) -> TenantDocument | None:
    """The tenant, or None."""
    return await documents.get(TENANTS, tenant_id, tenant_id)


async def client_of(documents: Documents, client_id: str) -> ClientDocument | None:
    """The client, or None."""
    return await documents.get(CLIENTS, PLATFORM, client_id)
