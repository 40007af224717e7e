"""The platform with a realm of a real Keycloak: tenants' clients, rotation, an outage, and persons."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.contract.calling import Access, Client, Deployment, Key, new_account, new_pair, running, user_body
from tests.servers.keycloak_realms import Admin, Browser, client_token, own_realm
from tests.servers.keycloak_server import PLATFORM_CLIENT, SECRET
from tests.servers.toxiproxy_server import Proxy
from tests.waiting import PATIENCE_SECONDS

WAIT = (("prefer", "wait=10"),)


@pytest.fixture(scope="module")
def realm(keycloak_url: str) -> Iterator[Admin]:
    """A realm of its own."""
    with own_realm(keycloak_url) as admin:
        yield admin


async def token(realm: Admin, client_id: str, secret: str, **form: str) -> str:
    """Return a new token by client credentials."""
    answer = await asyncio.to_thread(client_token, realm.url, client_id, secret, **form)
    return str(answer.raise_for_status().json()["access_token"])


async def operator(deployment: Deployment, realm: Admin) -> Client:
    """Return a client with a platform token."""
    return Client(deployment.wire, deployment.clock, Access(await token(realm, PLATFORM_CLIENT, SECRET)))


async def tenant(deployment: Deployment, realm: Admin, made: dict[str, Any]) -> Client:
    """Return a client of a tenant, from the response that shows its secrets."""
    access = Access(await token(realm, made["client"]["client_id"], made["client"]["client_secret"]))
    key = Key(made["signing_key"]["key_id"], made["signing_key"]["secret"])
    return Client(deployment.wire, deployment.clock, access, made["id"], key)


async def active_tenant(deployment: Deployment, realm: Admin) -> dict[str, Any]:
    """Create a tenant and wait until Keycloak has its client."""
    client = await operator(deployment, realm)
    made = await client.made("/v1/tenants", {"name": "Shop"}, also=WAIT)
    await until_active(client, made["id"])
    return made


async def until_active(client: Client, tenant_id: str) -> None:
    """Wait until a tenant is active."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (await client.read(f"/v1/tenants/{tenant_id}"))["status"] == "pending":  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.1)


async def test_a_tenants_client_is_made_and_its_payment_settles(tmp_path: Path, realm: Admin) -> None:
    """The first start registers the demo tenant's client in Keycloak; a tenant that a request creates is active when
    Keycloak has its client, and a payment with its tokens settles. Another tenant's token sees nothing of it."""
    async with running(tmp_path, identity=realm.url, identity_client_secret=SECRET) as deployment:
        known = deployment.platform.credentials
        assert known.platform == {"client_id": PLATFORM_CLIENT, "client_secret": SECRET}
        assert known.demo is not None
        demo = Client(
            deployment.wire,
            deployment.clock,
            Access(await token(realm, known.demo["client_id"], known.demo["client_secret"])),
            "demo",
            Key(known.demo["key_id"], known.demo["signing_secret"]),
        )
        pair = await new_pair(await tenant(deployment, realm, await active_tenant(deployment, realm)))
        payment = await pair.paid()
        assert (await demo.get(f"/v1/payments/{payment['id']}")).code == "not_found"
        assert (await demo.get("/v1/accounts", also=(("x-tenant-id", pair.client.tenant_id),))).code == (
            "tenant_mismatch"
        )


async def test_a_token_has_the_scopes_that_were_asked_for(tmp_path: Path, realm: Admin) -> None:
    """`scope=` in the token request narrows a token of a tenant's client to these scopes; without it the token has all
    of the client's; a scope that the client does not have is refused."""
    async with running(tmp_path, identity=realm.url, identity_client_secret=SECRET) as deployment:
        made = await active_tenant(deployment, realm)
        known = made["client"]["client_id"], made["client"]["client_secret"]
        pair = await new_pair(await tenant(deployment, realm, made))
        reading = pair.client.with_token(await token(realm, *known, scope="accounts:read payments:read"))
        assert (await reading.get("/v1/payments")).status == 200
        assert (await reading.get("/v1/accounts")).status == 200
        assert (await reading.get("/v1/users")).code == "insufficient_scope"
        assert (await reading.post("/v1/payments", pair.payment())).code == "insufficient_scope"
        refused = await asyncio.to_thread(client_token, realm.url, *known, scope="platform:admin")
        assert (refused.status_code, refused.json()["error"]) == (400, "invalid_scope")


async def test_a_rotation_refuses_no_request(tmp_path: Path, realm: Admin) -> None:
    """While Keycloak begins to sign with a new key, every request with a new token is accepted."""
    async with running(tmp_path, identity=realm.url, identity_client_secret=SECRET) as deployment:
        made = await active_tenant(deployment, realm)
        statuses: list[int] = []
        for turn in range(6):
            if turn == 2:
                await asyncio.to_thread(realm.add_signing_key, 300)
            client = await tenant(deployment, realm, made)
            statuses += [(await client.get("/v1/accounts")).status for _ in range(3)]
        assert set(statuses) == {200}


async def test_keycloak_away_refuses_no_valid_token(tmp_path: Path, keycloak_url: str, toxiproxy_url: str) -> None:
    """While Keycloak cannot be reached, tokens are accepted, used ones and new ones, /readyz is 200 and says what is
    impaired, and a new tenant is pending; when Keycloak is back, the tenant becomes active by itself."""
    server = urlsplit(keycloak_url).netloc
    with own_realm(keycloak_url) as realm, Proxy(toxiproxy_url, server) as proxy:
        front = f"http://{proxy.address}"
        await asyncio.to_thread(realm.send, "PUT", "", {"attributes": {"frontendUrl": front}})
        issuer = realm.url.replace(f"http://{server}", front)
        async with running(tmp_path, identity=issuer, identity_client_secret=SECRET) as deployment:
            made = await active_tenant(deployment, realm)
            used, unused = await tenant(deployment, realm, made), await tenant(deployment, realm, made)
            admin = await operator(deployment, realm)
            assert (await used.get("/v1/accounts")).status == 200
            await asyncio.to_thread(proxy.cut)
            async with asyncio.timeout(PATIENCE_SECONDS):
                ready = await deployment.wire.send("GET", "/readyz")
                while "impaired" not in ready.document:
                    await asyncio.sleep(0.1)
                    ready = await deployment.wire.send("GET", "/readyz")
            assert ready.status == 200
            assert f"the keys of {issuer} cannot be read since" in ready.document["impaired"][0]
            for client in (used, unused):
                assert (await client.get("/v1/accounts")).status == 200
            waiting = await admin.made("/v1/tenants", {"name": "Waiting"})
            assert waiting["status"] == "pending"
            await asyncio.to_thread(proxy.restore)
            await until_active(admin, waiting["id"])
            assert (await (await tenant(deployment, realm, waiting)).get("/v1/accounts")).status == 200


async def test_a_person_sees_only_what_is_the_own(tmp_path: Path, realm: Admin) -> None:
    """A person who logs in to Keycloak by authorization code and PKCE lists the own accounts and no others of the
    tenant."""
    async with running(tmp_path, identity=realm.url, identity_client_secret=SECRET) as deployment:
        made = await active_tenant(deployment, realm)
        service = await tenant(deployment, realm, made)
        user = (await service.made("/v1/users", user_body()))["id"]
        own = await new_account(service, owner_id=user)
        await new_account(service)

        def log_in() -> str:
            realm.add_person("ana", tenant_id=made["id"], user_id=user)
            with Browser(realm.url) as browser:
                return str(browser.log_in("ana")["access_token"])

        person = service.with_token(await asyncio.to_thread(log_in))
        found = (await person.read("/v1/accounts"))["data"]
        assert [account["id"] for account in found] == [own]
