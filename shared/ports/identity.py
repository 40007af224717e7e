"""The identity port: the keys of the issuer of access tokens, and the clients that may request tokens from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from jwt import PyJWK


class KeySource(Protocol):
    """A source of an issuer's public keys."""

    async def key(self, kid: str) -> PyJWK | None:
        """Return the key with this id, or None when the issuer has none.

        Raises Problem `dependency_unavailable` or Unavailable when the issuer cannot be reached.
        """
        ...


class NewClient(NamedTuple):
    """A tenant's client, as the issuer is to have it. Its tokens have this tenant and these scopes."""

    client_id: str
    secret: str
    tenant_id: str
    scopes: tuple[str, ...]


class ClientRefused(Exception):
    """The issuer refuses a client permanently, or has another client of its id. The text has the reason, no secret."""


class Clients(Protocol):
    """The clients of an issuer that is a server of its own."""

    async def register(self, client: NewClient) -> None:
        """Register a client. A repeated registration of the same client has no further effect.

        Raises ClientRefused, or Unavailable when the outcome is unknown or the issuer cannot register it now.
        """
        ...


class Identity(KeySource, Clients, Protocol):
    """An issuer that is a server of its own."""
