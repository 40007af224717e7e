"""The platform with the tokens of a realm on a server (LASTRO_IDENTITY)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from embedded.platform.platform import Options, Platform
from shared.core.clock import ManualClock, SystemClock
from shared.core.settings import Settings
from shared.ports.lifecycle import NotOpened
from tests.contract.calling import Access, Client, Deployment, Key, new_pair, running, still_clock
from tests.realm import SECRET, Realm, serving_realm
from tests.waiting import PATIENCE_SECONDS


@pytest.fixture
def clock() -> ManualClock:
    return still_clock()


@pytest.fixture
async def realm(clock: ManualClock) -> AsyncIterator[Realm]:
    async with serving_realm(clock) as realm:
        yield realm


def operator(deployment: Deployment, realm: Realm) -> Client:
    """Return a client with a platform token of the realm."""
    return Client(deployment.wire, deployment.clock, Access(realm.token(None)))


async def test_tokens_of_the_realm_are_accepted(tmp_path: Path, realm: Realm, clock: ManualClock) -> None:
    """With LASTRO_IDENTITY the platform accepts the realm's tokens, has no issuer of its own, and names the realm's
    token endpoint in credentials.json and in the OpenAPI document."""
    async with running(tmp_path, clock, identity=realm.url) as deployment:
        assert (await operator(deployment, realm).get("/platform/functions")).status == 200
        stranger = operator(deployment, realm).with_token("e30.e30.AA")
        assert (await stranger.get("/platform/functions")).code == "invalid_token"
        for path in ("/.well-known/openid-configuration", "/protocol/openid-connect/certs"):
            assert (await deployment.wire.send("GET", f"/realms/lastro{path}")).status == 404
        document = (await deployment.wire.send("GET", "/v1/openapi.json")).document
    endpoint = f"{realm.url}/protocol/openid-connect/token"
    assert endpoint in json.dumps(document["components"]["securitySchemes"])
    assert json.loads((tmp_path / "credentials.json").read_text())["token_url"] == endpoint


async def test_a_realm_that_does_not_answer_is_bridged_and_reported(
    tmp_path: Path, realm: Realm, clock: ManualClock
) -> None:
    """While the realm does not answer, tokens of known keys are accepted, also new ones, and /readyz is 200 and says
    what is impaired; a token of an unknown key is answered with 503. Afterwards all is as before."""
    async with running(tmp_path, clock, identity=realm.url) as deployment:
        assert (await deployment.wire.send("GET", "/readyz")).document == {"status": "ready"}
        realm.away = True
        clock.advance(timedelta(minutes=1))
        async with asyncio.timeout(PATIENCE_SECONDS):
            # On a slow machine the first answer is earlier than the realm's.
            ready = await deployment.wire.send("GET", "/readyz")
            while "impaired" not in ready.document:
                clock.advance(timedelta(seconds=10))
                ready = await deployment.wire.send("GET", "/readyz")
        assert ready.status == 200
        (impaired,) = ready.document["impaired"]
        assert impaired.startswith(f"the keys of {realm.url} cannot be read since 2026-11-20T12:0")
        assert "answered 503; the known keys stay in use for another" in impaired
        known = operator(deployment, realm)
        assert (await known.get("/platform/functions")).status == 200
        await realm.keys.rotate()
        assert (await operator(deployment, realm).get("/platform/functions")).code == "dependency_unavailable"
        metrics = (await known.get("/metrics")).body.decode()
        assert 'lastro_identity_key_reads_total{label="failed"}' in metrics
        realm.away = False
        clock.advance(timedelta(minutes=1))
        assert (await operator(deployment, realm).get("/platform/functions")).status == 200
        assert (await deployment.wire.send("GET", "/readyz")).document == {"status": "ready"}


async def test_keys_that_are_too_old_make_the_platform_not_ready(
    tmp_path: Path, realm: Realm, clock: ManualClock
) -> None:
    """When the realm has not answered for a day, no token is accepted and /readyz is 503 with the reason."""
    async with running(tmp_path, clock, identity=realm.url) as deployment:
        realm.away = True
        clock.advance(timedelta(hours=25))
        assert (await operator(deployment, realm).get("/platform/functions")).code == "dependency_unavailable"
        ready = await deployment.wire.send("GET", "/readyz")
        assert ready.status == 503
        assert "cannot be read" in ready.document["detail"]


async def test_a_rotation_passes_without_a_refused_request(tmp_path: Path, realm: Realm, clock: ManualClock) -> None:
    """Tokens of the old and the new key are accepted during a rotation, and the key set is read once more for it."""
    async with running(tmp_path, clock, identity=realm.url) as deployment:
        before = operator(deployment, realm)
        reads = realm.reads
        await realm.keys.rotate()
        for client in (before, operator(deployment, realm), before, operator(deployment, realm)):
            assert (await client.get("/platform/functions")).status == 200
        assert realm.reads == reads + 1


async def test_a_start_without_its_realm_is_refused(tmp_path: Path, realm: Realm) -> None:
    """A start whose realm does not answer in LASTRO_START_SECONDS ends with one line that names the setting and the
    reason."""
    realm.away = True
    settings = Settings(data_dir=str(tmp_path), identity=realm.url, start_seconds=0.01)
    with pytest.raises(NotOpened, match=r"LASTRO_IDENTITY cannot be used: the keys of .* cannot be read: .* 503"):
        await Platform.start(settings, Options(writer="thread"))


async def test_a_url_of_another_realm_is_refused(tmp_path: Path, realm: Realm) -> None:
    """A URL at which another issuer answers is refused with the URL of that issuer."""
    settings = Settings(data_dir=str(tmp_path), identity=realm.url + "/", start_seconds=0.01)
    with pytest.raises(NotOpened, match=f"the realm there says that it is '{realm.url}'"):
        await Platform.start(settings, Options(writer="thread"))


async def test_the_first_start_registers_the_demo_tenant(tmp_path: Path, realm: Realm, clock: ManualClock) -> None:
    """With the secret of the provisioning client, the first start writes the realm's client of the platform and a demo
    tenant, whose client the realm has; a payment with its tokens settles, and a later start changes nothing."""
    async with running(tmp_path, clock, identity=realm.url, identity_client_secret=SECRET) as deployment:
        known = deployment.platform.credentials
        assert known.platform == {"client_id": "lastro-platform", "client_secret": SECRET}
        assert known.demo is not None
        assert realm.clients[known.demo["client_id"]].tenant_id == "demo"
        token = await realm_token(realm, known.demo["client_id"], known.demo["client_secret"])
        key = Key(known.demo["key_id"], known.demo["signing_secret"])
        pair = await new_pair(Client(deployment.wire, clock, Access(token), "demo", key))
        await pair.paid()
    content = (tmp_path / "credentials.json").read_text()
    async with running(tmp_path, clock, identity=realm.url, identity_client_secret=SECRET):
        pass
    assert (tmp_path / "credentials.json").read_text() == content


async def test_a_tenant_waits_for_the_realm(tmp_path: Path) -> None:
    """While the realm does not answer, a new tenant is pending and its requests are refused; when the realm answers
    again, the tenant becomes active by itself."""
    async with (
        serving_realm(SystemClock()) as realm,
        running(tmp_path, identity=realm.url, identity_client_secret=SECRET) as deployment,
    ):
        operator_client = operator(deployment, realm)
        realm.away = True
        made = await operator_client.made("/v1/tenants", {"name": "Shop"})
        assert made["status"] == "pending"
        tenant = operator_client.with_token(realm.token(made["id"]))
        assert (await tenant.get("/v1/accounts")).code == "dependency_unavailable"
        realm.away = False
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (await operator_client.read(f"/v1/tenants/{made['id']}"))["status"] == "pending":  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.05)
        assert made["client"]["client_id"] in realm.clients
        assert (await tenant.get("/v1/accounts")).status == 200


async def realm_token(realm: Realm, client_id: str, secret: str) -> str:
    """Return a token of the realm by client credentials."""
    form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret}
    return str((await realm.issuer.token(form))["access_token"])
