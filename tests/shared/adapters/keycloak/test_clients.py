"""The registration of clients by the admin API: looked up first, compared afterwards, repeated without effect."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from shared.adapters.keycloak.clients import AdminAccess, RealmClients, admin_api
from shared.core.clock import ManualClock
from shared.identity.tenancy import TENANT_SCOPES
from shared.ports.documents import Unavailable
from shared.ports.identity import ClientRefused, NewClient
from tests.contract.calling import still_clock
from tests.realm import PLATFORM_CLIENT, PROVISIONING_CLIENT, SECRET, Realm, serving_realm

CLIENT = NewClient("cli_1", "secret-of-acme", "acme", TENANT_SCOPES)


@pytest.fixture
def clock() -> ManualClock:
    return still_clock()


@pytest.fixture
async def realm(clock: ManualClock) -> AsyncIterator[Realm]:
    async with serving_realm(clock) as realm:
        yield realm


@pytest.fixture
async def clients(realm: Realm, clock: ManualClock) -> AsyncIterator[RealmClients]:
    clients = clients_of(realm, clock)
    yield clients
    await clients.aclose()


def clients_of(realm: Realm, clock: ManualClock, secret: str = SECRET) -> RealmClients:
    clients = RealmClients(AdminAccess(PROVISIONING_CLIENT, secret, admin_api(realm.url)), clock)
    clients.token_url = f"{realm.url}/protocol/openid-connect/token"
    return clients


async def test_a_registered_client_gets_tokens_of_its_tenant(realm: Realm, clients: RealmClients) -> None:
    """A registered client exchanges its own secret for a token, and is sent to the realm once, however often it is
    registered."""
    for _ in range(3):
        await clients.register(CLIENT)
    assert realm.admin.created == ["cli_1"]
    assert realm.clients["cli_1"].tenant_id == "acme"
    assert realm.clients["cli_1"].scopes == frozenset(TENANT_SCOPES)
    assert await clients.token_of("cli_1", "secret-of-acme")


async def test_a_lost_answer_is_looked_up_before_a_second_try(realm: Realm, clients: RealmClients) -> None:
    """When the answer to the creation is lost, the registration raises Unavailable; the next one finds the client and
    sends it no second time."""
    realm.admin.lost_answers = 1
    with pytest.raises(Unavailable, match="504"):
        await clients.register(CLIENT)
    await clients.register(CLIENT)
    assert realm.admin.created == ["cli_1"]


async def test_a_realm_that_does_not_answer_is_unavailable(realm: Realm, clients: RealmClients) -> None:
    """While the realm is away a registration raises Unavailable, and succeeds afterwards."""
    realm.away = True
    with pytest.raises(Unavailable, match="the realm answered 503"):
        await clients.register(CLIENT)
    realm.away = False
    await clients.register(CLIENT)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"secret": "other"}, "secret"),
        ({"attributes": {"lastro.tenant": "other"}}, "lastro.tenant"),
        ({"publicClient": True}, "publicClient"),
        ({"directAccessGrantsEnabled": True}, "directAccessGrantsEnabled"),
        ({"defaultClientScopes": ["basic", "lastro-api", "platform:admin"]}, "defaultClientScopes"),
        ({"optionalClientScopes": ["platform:admin"]}, "optionalClientScopes"),
        ({"protocolMappers": []}, "protocolMappers"),
    ],
    ids=str,
)
async def test_another_client_of_the_id_is_refused(
    realm: Realm, clients: RealmClients, change: dict[str, Any], named: str
) -> None:
    """A client of the same id that differs is not taken over: ClientRefused names the fields and no secret."""
    await clients.register(CLIENT)
    realm.admin.stored["cli_1"] |= change
    with pytest.raises(ClientRefused, match=rf"another client of the id cli_1; these differ: {named}$") as refused:
        await clients.register(CLIENT)
    assert "secret-of-acme" not in str(refused.value)


async def test_a_realm_without_a_scope_gets_no_client(realm: Realm, clients: RealmClients) -> None:
    """A client is not created while the realm lacks one of its scopes, which Keycloak would leave out without an
    error."""
    realm.admin.scopes -= {"pix:read", "lastro-api"}
    with pytest.raises(Unavailable, match="no client scope lastro-api, pix:read: add what knative/platform/keycloak"):
        await clients.register(CLIENT)
    assert realm.admin.created == []


async def test_a_refusal_has_the_realms_reason(clients: RealmClients) -> None:
    """A client that the realm does not accept is refused with the realm's reason."""
    with pytest.raises(ClientRefused, match="refuses the client cli_1: 400 no secret"):
        await clients.register(CLIENT._replace(secret=""))


async def test_a_login_needs_the_secret_and_the_role(realm: Realm, clock: ManualClock) -> None:
    """Without a secret, with a wrong one, and without the role, Unavailable says what is missing."""
    for secret, reason in (("", "LASTRO_IDENTITY_CLIENT_SECRET is not set"), ("wrong", "refuses the login of lastro-")):
        clients = clients_of(realm, clock, secret)
        assert clients.has_access is bool(secret)
        with pytest.raises(Unavailable, match=reason):
            await clients.register(CLIENT)
        await clients.aclose()
    realm.admin.administrators.clear()
    clients = clients_of(realm, clock)
    with pytest.raises(Unavailable, match="needs the role manage-clients"):
        await clients.register(CLIENT)
    await clients.aclose()


async def test_a_token_is_used_until_it_expires_or_is_refused(
    realm: Realm, clients: RealmClients, clock: ManualClock
) -> None:
    """A token is used for many requests; a refused one is replaced once, and an expired one before it is used."""
    await clients.register(CLIENT)
    realm.admin.refused_tokens = 1
    await clients.register(CLIENT)
    realm.admin.refused_tokens = 2
    with pytest.raises(Unavailable, match="does not accept its own token"):
        await clients.register(CLIENT)
    clock.advance(timedelta(minutes=5))
    await clients.register(CLIENT)


async def test_the_secret_of_the_platforms_client_can_be_read(clients: RealmClients) -> None:
    """The secret of a client of the realm is returned, and None for an unknown client."""
    assert await clients.secret_of(PLATFORM_CLIENT) == SECRET
    assert await clients.secret_of("unknown") is None


@pytest.mark.parametrize(
    ("issuer", "api"),
    [
        ("https://id.example/realms/lastro", "https://id.example/admin/realms/lastro"),
        ("https://id.example/auth/realms/lastro/", "https://id.example/auth/admin/realms/lastro"),
        ("https://id.example/lastro", "https://id.example/lastro"),
    ],
)
def test_the_admin_api_is_beside_the_realm(issuer: str, api: str) -> None:
    """The URL of the admin API has `/admin` before `/realms`."""
    assert admin_api(issuer) == api
