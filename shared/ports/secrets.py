"""The secrets port: named secrets, and encryption of single fields with keys that never leave the port."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Secrets(Protocol):
    """Stores named secrets, and encrypts fields with keys that do not leave it."""

    async def get(self, name: str) -> bytes | None:
        """Return a named secret, or None when there is none of that name."""
        ...

    async def put(self, name: str, value: bytes) -> None:
        """Store a named secret in the place of an earlier one, durably before this returns."""
        ...

    async def seal(self, plaintexts: Sequence[str], context: str) -> list[str]:
        """Encrypt fields. They can be decrypted only with the same context (a tenant)."""
        ...

    async def open(self, sealed: Sequence[str], context: str) -> list[str]:
        """Decrypt fields. Raises ValueError when one was not encrypted here with this context."""
        ...

    async def blind_index(self, plaintext: str, context: str) -> str:
        """Return a keyed digest of a value, by which equal values of a sealed field are found within one context."""
        ...
