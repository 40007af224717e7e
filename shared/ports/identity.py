"""The identity port: the keys of the issuer of access tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from jwt import PyJWK


class KeySource(Protocol):
    """A source of an issuer's public keys."""

    async def key(self, kid: str) -> PyJWK | None:
        """Return the key with this id, or None when the issuer has none.

        Raises Problem `dependency_unavailable` or Unavailable when the issuer cannot be reached.
        """
        ...
