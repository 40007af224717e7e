"""A realm that issues access tokens: its public keys, by OpenID Connect discovery 1.0, and its clients."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from shared.adapters.keycloak.clients import AdminAccess, RealmClients, admin_api
from shared.identity.keys import JwksClient
from shared.ports.documents import Unavailable
from shared.ports.identity import NewClient
from shared.ports.lifecycle import Adapter, AdapterOptions, retry_at_start

if TYPE_CHECKING:
    from jwt import PyJWK


class KeycloakRealm(Adapter):
    """The realm of LASTRO_IDENTITY.

    It is open when its keys have been read once. After that it serves with the known keys while the realm cannot be
    reached (shared.identity.keys.JwksClient).
    """

    adapter_name = "identity provider"

    def __init__(self, issuer: str, keys: JwksClient, clients: RealmClients, start_seconds: float) -> None:
        """`start_seconds` is the longest time for which opening waits for the realm to answer."""
        self._issuer = issuer
        self._keys = keys
        self.clients = clients
        self._start_seconds = start_seconds

    @property
    def token_url(self) -> str:
        """The URL of the realm's token endpoint; empty before the adapter is open."""
        return self._keys.token_endpoint

    async def key(self, kid: str) -> PyJWK | None:
        self.require_open()
        return await self._keys.key(kid)

    async def register(self, client: NewClient) -> None:
        self.require_open()
        await self.clients.register(client)

    async def _probe(self) -> None:
        reason = await self._keys.trouble()
        if reason is not None:
            raise Unavailable(reason)

    def impairment(self) -> str | None:
        """Return that the keys cannot be read while the known ones are used, or None."""
        return self._keys.impairment()

    async def _open(self, closing: AsyncExitStack) -> None:
        closing.push_async_callback(self._keys.aclose)
        closing.push_async_callback(self.clients.aclose)
        await retry_at_start(self._read_keys, "LASTRO_IDENTITY", self._start_seconds)
        self.clients.token_url = self.token_url

    async def _read_keys(self) -> None:
        failure = await self._keys.read_first()
        if failure is not None:
            raise Unavailable(f"the keys of {self._issuer} cannot be read: {failure}")


def keycloak_realm(options: AdapterOptions) -> KeycloakRealm:
    """Return the realm of the options, which is not open."""
    settings = options.settings
    keys = JwksClient(options.url, options.clock, count=options.increase)
    access = AdminAccess(
        settings.identity_client, settings.identity_client_secret, settings.identity_admin or admin_api(options.url)
    )
    clients = RealmClients(access, options.clock)
    return KeycloakRealm(options.url, keys, clients, settings.start_seconds if options.waits else 0.0)
