"""The identity port: the local issuer, and Keycloak."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from secrets import token_hex

import httpx
import pytest

from shared.adapters.keycloak.clients import AdminAccess, RealmClients, admin_api
from shared.adapters.keycloak.realm import KeycloakRealm
from shared.core.clock import SystemClock
from shared.identity.keys import JwksClient
from shared.identity.tenancy import PLATFORM_SCOPE, TENANT_SCOPES
from shared.ports.identity import NewClient
from tests.ports.identity_suite import Credentials, IdentitySuite, IssuerUnderTest, TokenAnswer
from tests.realm import SECRET as REALM_SECRET
from tests.realm import Realm, serving_realm
from tests.servers.keycloak_realms import Admin, client_token, own_realm
from tests.servers.keycloak_server import PLATFORM_CLIENT, PROVISIONING_CLIENT, SECRET


class LocalIssuer(IssuerUnderTest):
    """The issuer of `lastro up`, behind an HTTP server."""

    def __init__(self, realm: Realm) -> None:
        self.clock = SystemClock()
        self.realm = realm
        self.url = realm.url
        self.keys = JwksClient(realm.url, self.clock)

    async def tenant_client(self, tenant_id: str) -> Credentials:
        client_id = f"cli_{token_hex(8)}"
        self.realm.add_client(client_id, tenant_id, frozenset(TENANT_SCOPES))
        return Credentials(client_id, REALM_SECRET)

    async def platform_client(self) -> Credentials:
        self.realm.add_client("platform", None, frozenset({PLATFORM_SCOPE}))
        return Credentials("platform", REALM_SECRET)

    async def ask(self, client: Credentials, **form: str) -> TokenAnswer:
        async with httpx.AsyncClient() as http:
            answer = await http.post(
                f"{self.url}/protocol/openid-connect/token", data=form, auth=(client.client_id, client.secret)
            )
        return TokenAnswer(answer.status_code, answer.json())

    async def rotate(self) -> None:
        await self.realm.keys.rotate()


class TestLocalIssuer(IdentitySuite):
    """The local issuer."""

    @pytest.fixture
    async def issuer(self) -> AsyncIterator[IssuerUnderTest]:
        async with serving_realm(SystemClock()) as realm:
            yield LocalIssuer(realm)


class KeycloakIssuer(IssuerUnderTest):
    """A realm of Keycloak, through the adapter."""

    def __init__(self, admin: Admin, adapter: KeycloakRealm) -> None:
        self.clock = SystemClock()
        self.url = admin.url
        self.keys = adapter
        self.adapter = adapter
        self.admin = admin

    async def tenant_client(self, tenant_id: str) -> Credentials:
        client = Credentials(f"cli_{token_hex(8)}", token_hex(16))
        await self.adapter.register(NewClient(*client, tenant_id, TENANT_SCOPES))
        return client

    async def platform_client(self) -> Credentials:
        secret = await self.adapter.clients.secret_of(PLATFORM_CLIENT)
        assert secret == SECRET
        return Credentials(PLATFORM_CLIENT, secret)

    async def ask(self, client: Credentials, **form: str) -> TokenAnswer:
        answer = client_token(self.url, client.client_id, client.secret, **form)
        return TokenAnswer(answer.status_code, answer.json())

    async def rotate(self) -> None:
        self.admin.add_signing_key(priority=200)


@pytest.fixture(scope="module")
def admin(keycloak_url: str) -> Iterator[Admin]:
    """The administrator of a realm of its own."""
    with own_realm(keycloak_url) as admin:
        yield admin


class TestKeycloak(IdentitySuite):
    """A realm of Keycloak."""

    @pytest.fixture
    async def issuer(self, admin: Admin) -> AsyncIterator[IssuerUnderTest]:
        clock = SystemClock()
        clients = RealmClients(AdminAccess(PROVISIONING_CLIENT, SECRET, admin_api(admin.url)), clock)
        async with KeycloakRealm(admin.url, JwksClient(admin.url, clock), clients, 60.0) as adapter:
            yield KeycloakIssuer(admin, adapter)
