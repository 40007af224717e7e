"""The secrets port: named secrets, and sealing of single fields with keys that never leave it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Secrets(Protocol):
    """A vault."""

    async def get(self, name: str) -> bytes | None:
        """A named secret, or None."""
        ...

    async def put(self, name: str, value: bytes) -> None:
        """Store a named secret."""
        ...

    async def seal(self, plaintexts: Sequence[str], context: str) -> list[str]:
        """Encrypt fields, bound to a context (a tenant) without which they do not open."""
        ...

    async def open(self, sealed: Sequence[str], context: str) -> list[str]:
        """Decrypt fields. Raises ValueError when one was not sealed here for this context."""
        ...

    async def blind_index(self, plaintext: str, context: str) -> str:
        """A keyed digest by which equal values of a sealed field can be found."""
        ...
