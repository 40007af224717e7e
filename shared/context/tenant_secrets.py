"""Encryption and secrets for the functions of one tenant."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shared.core.randomness import SecretSource
    from shared.ports.secrets import Purpose, Secrets


class TenantSecrets:
    """Encrypts and decrypts fields of one tenant, and makes new secrets. Text sealed for one tenant opens for no
    other."""

    __slots__ = ("_secrets", "_source", "_tenant_id")

    def __init__(self, secrets: Secrets, source: SecretSource, tenant_id: str) -> None:
        self._secrets = secrets
        self._source = source
        self._tenant_id = tenant_id

    def new(self) -> str:
        """Return a new secret of 256 bits, as text that is safe in URLs, headers and forms."""
        return self._source.urlsafe()

    def new_webhook_secret(self) -> str:
        """Return a new secret of 256 bits in the form of Standard Webhooks: `whsec_` and base64."""
        return f"whsec_{b64encode(bytes.fromhex(self._source.hexadecimal())).decode()}"

    async def named(self, name: str) -> bytes | None:
        """Return a secret that the platform stores under a name and for no tenant, or None."""
        return await self._secrets.get(name)

    async def seal(self, plaintexts: Sequence[str], purpose: Purpose = "personal-data") -> list[str]:
        """Encrypt fields of one purpose, with one call of the secrets port."""
        return await self._secrets.seal(plaintexts, self._tenant_id, purpose)

    async def open(self, sealed: Sequence[str]) -> list[str]:
        """Decrypt fields, with one call of the secrets port. Raises ValueError when one was not sealed for this
        tenant."""
        return await self._secrets.open(sealed, self._tenant_id)

    async def rewrap(self, sealed: Sequence[str]) -> list[str]:
        """Return the same fields, sealed with the newest keys; unchanged where they have these. Raises as `open`."""
        return await self._secrets.rewrap(sealed, self._tenant_id)

    async def blind_index(self, plaintext: str) -> str:
        """Return a keyed digest. Equal values of a sealed field have the same digest within this tenant, so it can be
        searched."""
        return await self._secrets.blind_index(plaintext, self._tenant_id)

    async def taxpayer_index(self, type: str, number: str) -> str:
        """Return the blind index of a taxpayer number, by which a person is found in every collection of the tenant.

        `type` is `cpf` or `cnpj`, and `number` has no punctuation.
        """
        return await self.blind_index(f"{type}:{number}")
