"""A realm that issues access tokens: its public keys, by OpenID Connect discovery 1.0, and its clients."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

from shared.adapters.keycloak.clients import AdminAccess, RealmClients, admin_api
from shared.identity.keys import JwksClient
from shared.ports.identity import NewClient
from shared.ports.lifecycle import Adapter, AdapterOptions, NotOpened

if TYPE_CHECKING:
    from jwt import PyJWK

_PAUSE_SECONDS: Final = 0.2


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

    async def trouble(self) -> str | None:
        """Return why no token can be verified now, or None."""
        return await super().trouble() or await self._keys.trouble()

    def impairment(self) -> str | None:
        """Return that the keys cannot be read while the known ones are used, or None."""
        return self._keys.impairment()

    async def _open(self, closing: AsyncExitStack) -> None:
        closing.push_async_callback(self._keys.aclose)
        closing.push_async_callback(self.clients.aclose)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._start_seconds
        while True:
            failure = await self._keys.read_first()
            if failure is None:
                self.clients.token_url = self.token_url
                return
            if loop.time() >= deadline:
                raise NotOpened(f"LASTRO_IDENTITY cannot be used: the keys of {self._issuer} cannot be read: {failure}")
            await asyncio.sleep(_PAUSE_SECONDS)


def keycloak_realm(options: AdapterOptions) -> KeycloakRealm:
    """Return the realm of the options, which is not open."""
    settings = options.settings
    keys = JwksClient(options.url, options.clock, count=options.increase)
    access = AdminAccess(
        settings.identity_client, settings.identity_client_secret, settings.identity_admin or admin_api(options.url)
    )
    clients = RealmClients(access, options.clock)
    return KeycloakRealm(options.url, keys, clients, settings.start_seconds if options.waits else 0.0)
