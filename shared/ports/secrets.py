"""The secrets port: named secrets, and encryption of single fields with keys that never leave the port."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, Protocol, get_args

Purpose = Literal["signing-secrets", "personal-data", "responses", "webhook-secrets", "receivers", "payers"]
"""The content of a field: the secret of a signing key; personal data; a stored response with either, or the secret of a
client until the realm has it; the secret that signs webhooks; the receiver of a payment over a rail; or what providers
know of those who pay: the debtor of a charge, and what a bank says of a fraud.

If each purpose has its own key, the access of a domain can be limited to the purposes that it needs.
"""

PURPOSES: Final[frozenset[str]] = frozenset(get_args(Purpose))
"""All purposes."""


class Secrets(Protocol):
    """Stores named secrets, and encrypts fields with keys that do not leave it."""

    async def get(self, name: str) -> bytes | None:
        """Return a named secret, or None when there is none of that name."""
        ...

    async def put(self, name: str, value: bytes) -> None:
        """Store a named secret in the place of an earlier one, durably before this returns."""
        ...

    async def seal(self, plaintexts: Sequence[str], context: str, purpose: Purpose = "personal-data") -> list[str]:
        """Encrypt fields. They can be decrypted only with the same context (a tenant)."""
        ...

    async def open(self, sealed: Sequence[str], context: str) -> list[str]:
        """Decrypt fields. Raises ValueError when one was not encrypted here with this context."""
        ...

    async def rewrap(self, sealed: Sequence[str], context: str) -> list[str]:
        """Return the same fields, sealed with the newest keys. A field that has the newest key is returned unchanged.

        Raises ValueError as `open` does.
        """
        ...

    async def blind_index(self, plaintext: str, context: str) -> str:
        """Return a keyed digest of a value, by which equal values of a sealed field are found within one context."""
        ...
