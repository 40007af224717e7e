"""The secrets port on a real OpenBao, which has Vault's API."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import hvac
import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from typer.testing import CliRunner

from cli.main import app
from shared.adapters.vault.address import Address, read_address
from shared.adapters.vault.policies import RIGHTS, policy, policy_name
from shared.adapters.vault.secrets import VaultSecrets
from shared.adapters.vault.setup import WrongMount, set_up
from shared.core.clock import Clock, ManualClock, SystemClock
from shared.core.settings import Settings
from shared.ports.documents import Unavailable
from shared.ports.lifecycle import NotOpened
from tests.ports.lifecycle_suite import LifecycleSuite, Make, Uses
from tests.ports.port_uses import secret_uses
from tests.ports.secrets_suite import SecretsSuite
from tests.servers.openbao_server import ROOT_TOKEN


def root(url: str) -> Any:
    """Return a client with all rights."""
    return hvac.Client(url.removeprefix("vault+").partition("?")[0], token=ROOT_TOKEN)


@pytest.fixture
def url(openbao_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the URL of a Vault that is set up under names that no other test uses."""
    name = f"test-{uuid4().hex[:12]}"
    url = f"{openbao_url}?auth=approle&login={name}&kv=kv-{name}&transit=transit-{name}&prefix={name}"
    set_up(read_address(url), ROOT_TOKEN, lambda _: None)
    log_in_as("platform", url, monkeypatch)
    return url


def log_in_as(domain: str, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the credentials of a domain's role."""
    client, address = root(url), read_address(url)
    path = f"auth/{address.login}/role/{policy_name(address, domain)}"
    monkeypatch.setenv("VAULT_ROLE_ID", client.read(f"{path}/role-id")["data"]["role_id"])
    monkeypatch.setenv("VAULT_SECRET_ID", client.write_data(f"{path}/secret-id")["data"]["secret_id"])


def adapter(url: str, clock: Clock | None = None, **settings: Any) -> VaultSecrets:
    """Return an adapter that is not open."""
    return VaultSecrets(read_address(url), Settings(**settings), clock or SystemClock())


@pytest.fixture
async def secrets(url: str) -> AsyncIterator[VaultSecrets]:
    """Return an open adapter with the rights of the platform."""
    async with adapter(url) as opened:
        yield opened


class TestVault(SecretsSuite):
    """The secrets port on Vault."""


class TestLifecycle(LifecycleSuite):
    """Opening and closing of the secrets on Vault."""

    @pytest.fixture
    def make(self, url: str) -> Make:
        return lambda: adapter(url)

    @pytest.fixture
    def uses(self) -> Uses:
        return secret_uses


def test_the_policies_in_the_manifests_are_those_of_the_setup() -> None:
    """knative/platform/vault has the policy of each domain with functions, and of `lastro up`, for the usual mounts."""
    address = read_address("vault+https://vault?auth=token")
    folder = Path(__file__).parents[2] / "knative" / "platform" / "vault"
    domains = {path.parent.name for path in (folder.parents[2] / "functions").glob("*/__init__.py")}
    assert domains | {"platform"} == RIGHTS.keys()
    texts = {path.stem: path.read_text(encoding="utf-8") for path in folder.glob("*.hcl")}
    assert texts == {policy_name(address, domain): policy(address, domain) for domain in RIGHTS}


def revoke_tokens(url: str) -> None:
    """Revoke every token of the role's logins."""
    root(url).sys.revoke_prefix(f"auth/{read_address(url).login}/")


async def test_a_revoked_token_is_replaced(secrets: VaultSecrets, url: str) -> None:
    """After its token is no longer valid, the next calls log in again and succeed, also at the same time."""
    sealed = await secrets.seal(["a"], "ten_1")
    revoke_tokens(url)
    results = await asyncio.gather(*(secrets.open(sealed, "ten_1") for _ in range(20)))
    assert results == [["a"]] * 20


async def test_a_token_is_renewed_before_it_ends(url: str) -> None:
    """After two thirds of its lease the same token is renewed with the next call, and is not replaced."""
    clock = ManualClock()
    async with adapter(url, clock) as secrets:
        client = secrets._session._client
        token = client.token
        before = client.auth.token.lookup_self()["data"]
        assert "last_renewal" not in before or before["last_renewal"] is None
        clock.advance(timedelta(minutes=45))
        await secrets.seal(["a"], "ten_1")
        assert client.token == token
        assert client.auth.token.lookup_self()["data"]["last_renewal"]
        clock.advance(timedelta(hours=2))
        await secrets.seal(["a"], "ten_1")
        assert client.token != token


async def test_a_refused_login_leaves_a_valid_token(
    url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """When a token cannot be renewed and the new login is refused, the present token is used until it ends, with a
    warning; a later login that succeeds replaces it."""
    clock, address = ManualClock(), read_address(url)
    role = f"auth/{address.login}/role/{policy_name(address, 'platform')}"
    root(url).write_data(role, data={"token_type": "batch"})  # tokens that cannot be renewed
    async with adapter(url, clock) as secrets:
        token = secrets._session._client.token
        monkeypatch.setenv("VAULT_SECRET_ID", "hidden")
        clock.advance(timedelta(minutes=45))
        sealed = await secrets.seal(["a"], "ten_1")
        assert secrets._session._client.token == token
        (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
        assert "the present token is valid for 900 s" in warning
        assert "hidden" not in warning
        clock.advance(timedelta(minutes=15))
        with pytest.raises(Unavailable, match="refuses the login by approle"):
            await secrets.open(sealed, "ten_1")
        log_in_as("platform", url, monkeypatch)
        assert await secrets.open(sealed, "ten_1") == ["a"]
        assert secrets._session._client.token != token


async def test_the_cache_of_named_secrets_is_bounded(secrets: VaultSecrets) -> None:
    """The cache has at most 256 named secrets; the oldest one is removed first."""
    for number in range(257):
        secrets._remember(f"name-{number}", b"1")
    assert len(secrets._cached) == 256
    assert "name-0" not in secrets._cached


async def test_a_key_is_rotated_while_fields_are_sealed(secrets: VaultSecrets, url: str) -> None:
    """During rotations every call succeeds; texts of all versions open, and a rewrap gives the newest one."""
    address, client = read_address(url), root(url)
    index = await secrets.blind_index("a", "ten_1")
    sealed = await secrets.seal(["a"], "ten_1")
    assert sealed[0].startswith("personal-data:vault:v1:")

    async def seal_and_open() -> list[str]:
        own: list[str] = []
        while not own or not own[-1].startswith("personal-data:vault:v3:"):
            own += await secrets.seal(["a"], "ten_1")
            assert await secrets.open(own[-1:], "ten_1") == ["a"]
        return own

    async def rotate() -> None:
        for key in ("personal-data", "personal-data", "blind-index"):
            await asyncio.to_thread(
                client.secrets.transit.rotate_key, f"{address.prefix}-{key}", mount_point=address.transit
            )

    first, second, _ = await asyncio.gather(seal_and_open(), seal_and_open(), rotate())
    every = [*sealed, *first, *second]
    assert await secrets.open(every, "ten_1") == ["a"] * len(every)
    rewrapped = await secrets.rewrap(every, "ten_1")
    assert all(text.startswith("personal-data:vault:v3:") for text in rewrapped)
    assert await secrets.open(rewrapped, "ten_1") == ["a"] * len(every)
    assert await secrets.blind_index("a", "ten_1") == index


async def test_two_processes_share_the_secrets(secrets: VaultSecrets, url: str) -> None:
    """What one adapter seals and stores, another one opens and reads; both have the same blind index."""
    async with adapter(url) as other:
        assert await other.open(await secrets.seal(["a"], "ten_1", "signing-secrets"), "ten_1") == ["a"]
        await secrets.put("shared", b"1")
        assert await other.get("shared") == b"1"
        assert await other.blind_index("a", "ten_1") == await secrets.blind_index("a", "ten_1")


async def test_a_replaced_secret_is_seen_after_the_cache_time(secrets: VaultSecrets, url: str) -> None:
    """A secret that another process replaces or removes is seen when the cached value is older than its time."""
    clock = ManualClock()
    async with adapter(url, clock, secrets_cache_seconds=5) as other:
        assert await other.get("name") is None
        await secrets.put("name", b"1")
        assert await other.get("name") is None
        clock.advance(timedelta(seconds=5))
        assert await other.get("name") == b"1"
        await secrets.put("name", b"2")
        assert await other.get("name") == b"1"
        clock.advance(timedelta(seconds=5))
        assert await other.get("name") == b"2"
        address = read_address(url)
        root(url).secrets.kv.v2.delete_latest_version_of_secret(f"{address.prefix}/name", mount_point=address.kv)
        clock.advance(timedelta(seconds=5))
        assert await other.get("name") is None


async def test_an_operator_stores_a_text(secrets: VaultSecrets, url: str) -> None:
    """A secret that an operator wrote into the field `value` is read; another field is an error with the path."""
    address = read_address(url)
    kv = root(url).secrets.kv.v2
    kv.create_or_update_secret(f"{address.prefix}/operator", {"value": "text"}, mount_point=address.kv)
    kv.create_or_update_secret(f"{address.prefix}/wrong", {"secret": "text"}, mount_point=address.kv)
    assert await secrets.get("operator") == b"text"
    with pytest.raises(Unavailable, match="/wrong has no field `value`"):
        await secrets.get("wrong")


DAY = timedelta(days=1)
CALLBACK = "providers/pix/callback-secret"


@pytest.mark.parametrize("domain", [domain for domain in RIGHTS if domain != "platform"])
async def test_a_domain_can_do_what_it_needs_and_nothing_else(
    domain: str, secrets: VaultSecrets, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the role of a domain, only the purposes and secrets of that domain can be used."""
    await secrets.put(CALLBACK, b"1")
    await secrets.put("identity-signing-keys", b"1")
    signing, personal, response, webhook, receiver, payer = [
        await secrets.seal(["a"], "ten_1", purpose)
        for purpose in ("signing-secrets", "personal-data", "responses", "webhook-secrets", "receivers", "payers")
    ]
    log_in_as(domain, url, monkeypatch)
    async with adapter(url) as own:
        uses: dict[str, Callable[[], Awaitable[object]]] = {
            "open signing": lambda: own.open(signing, "ten_1"),
            "seal signing": lambda: own.seal(["a"], "ten_1", "signing-secrets"),
            "open personal": lambda: own.open(personal, "ten_1"),
            "seal personal": lambda: own.seal(["a"], "ten_1"),
            "index": lambda: own.blind_index("a", "ten_1"),
            "open response": lambda: own.open(response, "ten_1"),
            "seal response": lambda: own.seal(["a"], "ten_1", "responses"),
            "open webhook": lambda: own.open(webhook, "ten_1"),
            "seal webhook": lambda: own.seal(["a"], "ten_1", "webhook-secrets"),
            "open receiver": lambda: own.open(receiver, "ten_1"),
            "seal receiver": lambda: own.seal(["a"], "ten_1", "receivers"),
            "open payer": lambda: own.open(payer, "ten_1"),
            "seal payer": lambda: own.seal(["a"], "ten_1", "payers"),
            "callback": lambda: own.get(CALLBACK),
            "identity": lambda: own.get("identity-signing-keys"),
            "put": lambda: own.put(CALLBACK, b"2"),
            "rewrap personal": lambda: own.rewrap(personal, "ten_1"),
            "rewrap payer": lambda: own.rewrap(payer, "ten_1"),
        }
        permitted = set()
        for name, use in uses.items():
            try:
                await use()
            except Unavailable as error:
                assert "do not permit" in str(error)  # noqa: PT017 - permitted calls raise nothing
            else:
                permitted.add(name)
    responses = {"open response", "seal response"}
    further = {
        "notifications": {"open personal", "seal personal", "rewrap personal"},
        "payments": {"seal receiver"},
        "providers": {"callback", "open receiver", "open payer", "seal payer", "rewrap payer", "index", *responses},
        "tenants": {"seal signing", *responses},
        "users": {"open personal", "seal personal", "rewrap personal", "open payer", "index", *responses},
        "webhooks": {"open webhook", "seal webhook", *responses},
    }
    assert permitted == {"open signing", *further.get(domain, set())}


async def test_a_denied_call_does_not_log_in_again(
    secrets: VaultSecrets, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call that the policies refuse leaves the token as it is."""
    log_in_as("ledger", url, monkeypatch)
    async with adapter(url) as own:
        token = own._session._client.token
        with pytest.raises(Unavailable, match="do not permit transit-"):
            await own.seal(["a"], "ten_1")
        assert own._session._client.token == token


def test_the_setup_can_be_repeated(url: str) -> None:
    """A second setup changes nothing; a changed policy and a missing key are found, and a dry run leaves them."""
    address, steps = read_address(url), list[str]()
    assert set_up(address, ROOT_TOKEN, steps.append) == 0
    name = policy_name(address, "users")
    root(url).sys.create_or_update_policy(name, 'path "secret/*" { capabilities = ["read"] }')
    assert set_up(address, ROOT_TOKEN, steps.append, dry_run=True) == 1
    assert set_up(address, ROOT_TOKEN, steps.append) == 1
    assert steps == [f"policy {name}"] * 2
    assert set_up(address, ROOT_TOKEN, steps.append) == 0


def test_the_setup_refuses_a_mount_of_another_type(openbao_url: str) -> None:
    """A mount that is not Transit is an error that names the option."""
    address = read_address(f"{openbao_url}?auth=token&transit=secret")
    with pytest.raises(WrongMount, match=r"secret/ is not Transit: .+ transit=… in LASTRO_SECRETS"):
        set_up(address, ROOT_TOKEN, lambda _: None)


def test_the_setup_needs_a_valid_token(openbao_url: str) -> None:
    """A token without rights is an error without the token in it."""
    address: Address = read_address(f"{openbao_url}?auth=token")
    with pytest.raises(Unavailable, match="permission denied") as raised:
        set_up(address, "not-a-token", lambda _: None)
    assert "not-a-token" not in str(raised.value)


async def test_a_refused_login_stops_the_opening(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong secret id fails the opening without a wait, in one line that names Vault and no credential."""
    monkeypatch.setenv("VAULT_SECRET_ID", "hidden-secret-id")
    with pytest.raises(NotOpened, match=r"LASTRO_SECRETS .+ refuses the login by approle") as raised:
        async with adapter(url, start_seconds=600):
            raise AssertionError("the login is wrong")
    assert "hidden" not in str(raised.value)
    assert "\n" not in str(raised.value)


async def test_an_unreachable_vault_is_named(unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening waits for the start's seconds, then fails in one line that names the address."""
    monkeypatch.setenv("VAULT_TOKEN", "hidden")
    with pytest.raises(NotOpened, match=f"127.0.0.1:{unused_tcp_port}: it cannot be reached"):
        async with adapter(f"vault+http://127.0.0.1:{unused_tcp_port}?auth=token", start_seconds=0.1):
            raise AssertionError("there is no server")


async def test_a_vault_that_is_not_set_up_is_named(openbao_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its mounts, a call fails with the command that makes them."""
    monkeypatch.setenv("VAULT_TOKEN", ROOT_TOKEN)
    async with adapter(f"{openbao_url}?auth=token&kv=none&transit=none") as own:
        for use in secret_uses(own)[:3]:
            with pytest.raises(Unavailable, match="lastro migrate"):
                await use()


class TokenReview(BaseHTTPRequestHandler):
    """The part of Kubernetes that Vault asks whether a service account's token is valid."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        claims = jwt.decode(body["spec"]["token"], options={"verify_signature": False})
        account = claims["kubernetes.io"]
        user = f"system:serviceaccount:{account['namespace']}:{account['serviceaccount']['name']}"
        status: dict[str, object] = {
            "authenticated": True,
            "user": {"username": user, "uid": account["serviceaccount"]["uid"]},
        }
        status["audiences"] = body["spec"]["audiences"]
        answer = json.dumps({**body, "status": status}).encode()
        self.send_response(201)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *arguments: object) -> None:
        """Write no log."""


def certificate() -> str:
    """Return a certificate that nothing checks: Vault demands one for Kubernetes, also without TLS."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + DAY)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


@pytest.fixture
def kubernetes() -> Iterator[str]:
    """Return the URL of a server that accepts every service account's token."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), TokenReview)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


async def test_a_service_account_logs_in(openbao_url: str, kubernetes: str, tmp_path: Path) -> None:
    """The service account of a domain logs in with the role of its domain, and not with that of another one."""
    name = f"test-{uuid4().hex[:12]}"
    token = tmp_path / "token"
    url = f"{openbao_url}?login={name}&transit=transit-{name}&prefix={name}&token_file={token}&role={name}"
    address = read_address(f"{url}-users")
    set_up(address, ROOT_TOKEN, lambda _: None)
    root(url).write_data(
        f"auth/{name}/config",
        data={
            "kubernetes_host": kubernetes,
            "disable_local_ca_jwt": True,
            "token_reviewer_jwt": "reviewer",
            "kubernetes_ca_cert": certificate(),
        },
    )
    assert set_up(address, ROOT_TOKEN, lambda _: None) == 0
    account = {"namespace": "lastro", "serviceaccount": {"name": f"{name}-users", "uid": "1"}}
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    claims = {"iss": "kubernetes", "sub": f"system:serviceaccount:lastro:{name}-users", "kubernetes.io": account}
    token.write_text(
        jwt.encode({**claims, "aud": ["vault"], "iat": 1, "nbf": 1, "exp": 4_000_000_000}, key, algorithm="RS256")
    )
    async with adapter(f"{url}-users") as users:
        assert await users.open(await users.seal(["a"], "ten_1"), "ten_1") == ["a"]
    with pytest.raises(NotOpened, match="refuses the login by kubernetes"):
        async with adapter(f"{url}-tenants"):
            raise AssertionError("the account belongs to another domain")


def test_lastro_migrate_sets_vault_up(openbao_url: str) -> None:
    """`lastro migrate` sets Vault up with the token of an administrator, and without one leaves it as it is."""
    name = f"test-{uuid4().hex[:12]}"
    url = f"{openbao_url}?auth=approle&login={name}&kv=kv-{name}&transit=transit-{name}&prefix={name}"
    run = CliRunner().invoke
    without = run(app, ["migrate"], env={"LASTRO_SECRETS": url, "VAULT_TOKEN": ""})
    assert without.exit_code == 0
    assert "VAULT_TOKEN is not set" in without.output
    environment = {"LASTRO_SECRETS": url, "VAULT_TOKEN": ROOT_TOKEN}
    dry = run(app, ["migrate", "--dry-run"], env={**environment, "LASTRO_SECRETS": f"{openbao_url}?auth=token"})
    assert dry.exit_code == 0
    assert "steps are missing" in dry.output
    first = run(app, ["migrate"], env=environment)
    assert first.exit_code == 0
    assert f"key {name}-personal-data" in first.output
    assert f"role {name}-users" in first.output
    assert "has everything" in run(app, ["migrate"], env=environment).output
    wrong = run(app, ["migrate"], env={**environment, "VAULT_TOKEN": "hidden"})
    assert wrong.exit_code == 1
    assert str(wrong.exception).startswith("LASTRO_SECRETS cannot be set up: Vault at http")
    assert "hidden" not in str(wrong.exception)
