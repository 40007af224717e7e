"""Tenants, clients and signing keys, as the admission of a request needs them."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, Literal

from shared.ports.documents import PLATFORM, Documents
from shared.ports.secrets import Secrets
from shared.records.tenants import CLIENTS, TENANTS, ClientDocument, SigningKeyDocument, TenantDocument

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
PERSON_SCOPES: Final = frozenset(
    {
        "users:read",
        "accounts:read",
        "payments:read",
        "payments:write",
        "deposits:read",
        "deposits:write",
        "statements:read",
    }
)
"""The scopes of a person's token (claim `user_id`). A person's token never has another one, whatever it claims."""


def key_status(key: SigningKeyDocument, now_text: str) -> Literal["active", "grace", "revoked"]:
    """Return a key's status at a time: a grace period ends without a write."""
    expires_at = key["expires_at"]
    if key["status"] == "grace" and expires_at is not None and expires_at <= now_text:
        return "revoked"
    return key["status"]


class SigningSecrets:
    """A cache of decrypted signing secrets. Bounded; the oldest entry is removed first."""

    def __init__(self, secrets: Secrets, limit: int = 4096) -> None:
        self._secrets = secrets
        self._limit = limit
        self._opened: OrderedDict[str, str] = OrderedDict()

    async def secret_of(self, key: SigningKeyDocument) -> str:
        """Return the decrypted secret, as it was shown to the tenant."""
        sealed = key["secret"]
        known = self._opened.get(sealed)
        if known is None:
            known = (await self._secrets.open([sealed], key["tenant_id"]))[0]
            self._opened[sealed] = known
            if len(self._opened) > self._limit:
                self._opened.popitem(last=False)
        return known


async def tenant_of(documents: Documents, tenant_id: str) -> TenantDocument | None:
    """Return the document of a tenant, or None when there is no such tenant."""
    return await documents.get(TENANTS, tenant_id, tenant_id)


async def client_of(documents: Documents, client_id: str) -> ClientDocument | None:
    """Return the document of a client, or None when it is not registered."""
    return await documents.get(CLIENTS, PLATFORM, client_id)
