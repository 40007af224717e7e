"""The local issuer: keys, tokens, documents and HTTP endpoints."""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import timedelta
from typing import Any
from urllib.parse import quote_plus, urlencode

import jwt
import pytest

from embedded.identity.issuer import REALM_PATH, Client, Issuer, KeyRing, OAuthError, SigningKey
from shared.core.clock import ManualClock
from shared.core.problems import Problem
from shared.identity.keys import JwksClient
from shared.identity.tokens import TokenVerifier, client_secret_digest

BASE = "http://127.0.0.1:8080"
TOKEN_PATH = f"{REALM_PATH}/protocol/openid-connect/token"
CERTS_PATH = f"{REALM_PATH}/protocol/openid-connect/certs"
DISCOVERY_PATH = f"{REALM_PATH}/.well-known/openid-configuration"
SECRET = "s3cr:et+/ é"
FORM_TYPE = {"content-type": "application/x-www-form-urlencoded"}


class Store:
    """Secrets in memory."""

    def __init__(self) -> None:
        self.secrets: dict[str, bytes] = {}

    async def get(self, name: str) -> bytes | None:
        return self.secrets.get(name)

    async def put(self, name: str, value: bytes) -> None:
        self.secrets[name] = value


class Directory:
    """A directory with a tenant's client and the platform's."""

    def __init__(self) -> None:
        digest = client_secret_digest(SECRET)
        self.clients = {
            "shop": Client("shop", digest, "demo", frozenset({"payments:read", "payments:write"})),
            "platform": Client("platform", digest, None, frozenset({"platform:admin"})),
            "a:b": Client("a:b", digest, "demo", frozenset({"users:read"})),
            "keeper": Client("keeper", digest, "demo", frozenset({"users:write", "ledger:read"})),
            "other": Client("other", digest, "other", frozenset({"users:read"})),
        }

    async def client(self, client_id: str) -> Client | None:
        return self.clients.get(client_id)

    async def has_person(self, tenant_id: str, user_id: str) -> bool:
        return (tenant_id, user_id) == ("demo", "usr_1")


@pytest.fixture(scope="module")
def stored() -> dict[str, bytes]:
    """Stored keys for all tests of the module, because making keys is slow."""
    return {}


@pytest.fixture
async def ring(stored: dict[str, bytes]) -> KeyRing:
    store = Store()
    store.secrets = dict(stored)
    ring = await KeyRing.load(store)
    stored.update(stored or store.secrets)
    return ring


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def issuer(ring: KeyRing, clock: ManualClock) -> Issuer:
    return Issuer(BASE + REALM_PATH, ring, Directory(), clock)


def grant(**fields: str) -> dict[str, str]:
    return {"grant_type": "client_credentials", "client_id": "shop", "client_secret": SECRET, **fields}


def basic(client_id: str, secret: str) -> str:
    pair = f"{quote_plus(client_id)}:{quote_plus(secret)}"
    return "Basic " + base64.b64encode(pair.encode()).decode()


async def refused(issuer: Issuer, form: dict[str, str], authorization: str | None = None) -> tuple[str, int]:
    with pytest.raises(OAuthError) as caught:
        await issuer.token(form, authorization)
    return caught.value.error, caught.value.status


async def test_a_token_of_the_issuer_verifies(issuer: Issuer, ring: KeyRing, clock: ManualClock) -> None:
    """The functions' verifier accepts a token of the issuer, with its tenant and scopes."""
    answer = await issuer.token(grant())
    assert answer["token_type"] == "Bearer"
    assert answer["expires_in"] == 300
    assert answer["scope"] == "payments:read payments:write"
    verifier = TokenVerifier(issuer.issuer_url, "lastro-api", ring.source, clock)
    caller = await verifier.verify(answer["access_token"])
    assert (caller.client_id, caller.tenant_id) == ("shop", "demo")
    assert caller.scopes == {"payments:read", "payments:write"}


async def test_a_token_carries_the_contracts_claims(issuer: Issuer, clock: ManualClock) -> None:
    """A token has exactly the claims of the contract, is valid for five minutes, and has no tenant for the platform's
    client."""
    token = (await issuer.token(grant()))["access_token"]
    claims = jwt.decode(token, options={"verify_signature": False})
    now = int(clock.now().timestamp())
    assert claims.pop("jti")
    assert claims == {
        "iss": BASE + REALM_PATH,
        "aud": "lastro-api",
        "azp": "shop",
        "sub": "shop",
        "scope": "payments:read payments:write",
        "tenant_id": "demo",
        "typ": "Bearer",
        "iat": now,
        "nbf": now,
        "exp": now + 300,
    }
    platform = (await issuer.token(grant(client_id="platform")))["access_token"]
    assert "tenant_id" not in jwt.decode(platform, options={"verify_signature": False})


async def test_every_token_is_different(issuer: Issuer) -> None:
    """Two tokens of one second differ by their id."""
    assert (await issuer.token(grant()))["access_token"] != (await issuer.token(grant()))["access_token"]


async def test_scope_narrows_and_never_widens(issuer: Issuer) -> None:
    """A request may narrow the client's scopes; a further scope is refused, and an empty scope counts as absent."""
    assert (await issuer.token(grant(scope="payments:read")))["scope"] == "payments:read"
    assert (await issuer.token(grant(scope=" payments:read  payments:read ")))["scope"] == "payments:read"
    assert (await issuer.token(grant(scope="")))["scope"] == "payments:read payments:write"
    for scope in ("platform:admin", "payments:read platform:admin", "payments:*", " "):
        assert await refused(issuer, grant(scope=scope)) == ("invalid_scope", 400)


async def test_credentials_come_in_the_header_or_in_the_body(issuer: Issuer) -> None:
    """Credentials are accepted by client_secret_basic (form-encoded, RFC 6749) or client_secret_post, and not by
    both."""
    form = {"grant_type": "client_credentials"}
    assert await issuer.token(form, basic("shop", SECRET))
    assert await issuer.token(form, basic("a:b", SECRET))
    assert await issuer.token({**form, "client_id": "shop"}, basic("shop", SECRET).replace("Basic", "basic"))
    assert await refused(issuer, grant(), basic("shop", SECRET)) == ("invalid_request", 400)
    assert await refused(issuer, {**form, "client_id": "platform"}, basic("shop", SECRET)) == ("invalid_request", 400)


async def test_wrong_credentials_get_one_answer(issuer: Issuer) -> None:
    """An unknown client and a wrong, empty or absent secret get the same answer."""
    form = {"grant_type": "client_credentials"}
    for wrong in (
        grant(client_secret="x"),
        grant(client_secret=""),
        grant(client_id="nobody"),
        grant(client_id="nobody", client_secret=""),
        grant(client_secret=client_secret_digest(SECRET)),
        form,
    ):
        assert await refused(issuer, wrong) == ("invalid_client", 401)
    headers = [basic("shop", "x"), "Bearer abc", "Basic", "Basic !!", "Basic " + base64.b64encode(b"shop").decode()]
    for authorization in headers:
        assert await refused(issuer, form, authorization) == ("invalid_client", 401)


async def test_other_grants_are_not_supported(issuer: Issuer) -> None:
    """Other grant types are answered with `unsupported_grant_type`, and a missing one with `invalid_request`."""
    for grant_type in ("password", "authorization_code", "refresh_token"):
        assert await refused(issuer, grant(grant_type=grant_type)) == ("unsupported_grant_type", 400)
    assert await refused(issuer, grant(grant_type="")) == ("invalid_request", 400)


def exchange(**fields: str) -> dict[str, str]:
    """Return a request for a person's token."""
    return {
        **grant(grant_type="urn:ietf:params:oauth:grant-type:token-exchange"),
        "requested_subject": "usr_1",
        **fields,
    }


async def test_a_client_gets_a_persons_token(issuer: Issuer, ring: KeyRing, clock: ManualClock) -> None:
    """A token exchange gives a token with the user's id and tenant, and with the client's scopes that persons have."""
    answer = await issuer.token(exchange())
    assert answer["issued_token_type"] == "urn:ietf:params:oauth:token-type:access_token"
    assert (answer["token_type"], answer["expires_in"]) == ("Bearer", 300)
    claims = jwt.decode(answer["access_token"], options={"verify_signature": False})
    assert (claims["user_id"], claims["sub"], claims["azp"]) == ("usr_1", "usr_1", "shop")
    caller = await TokenVerifier(issuer.issuer_url, "lastro-api", ring.source, clock).verify(answer["access_token"])
    assert (caller.user_id, caller.tenant_id, caller.client_id) == ("usr_1", "demo", "shop")
    assert caller.scopes == {"payments:read", "payments:write"}
    narrowed = await issuer.token(exchange(scope="payments:read", subject_token=""))
    assert narrowed["scope"] == "payments:read"


async def test_a_persons_token_has_no_other_scope(issuer: Issuer) -> None:
    """A scope that persons do not have is refused, and so is an exchange by a client that has none of theirs."""
    assert (await issuer.token(exchange(client_id="a:b")))["scope"] == "users:read"
    assert (await issuer.token(grant(client_id="keeper")))["scope"] == "ledger:read users:write"
    assert await refused(issuer, exchange(client_id="keeper")) == ("invalid_scope", 400)
    assert await refused(issuer, exchange(client_id="keeper", scope="users:write")) == ("invalid_scope", 400)
    assert await refused(issuer, exchange(scope="users:read")) == ("invalid_scope", 400)


async def test_an_exchange_is_for_a_user_of_the_clients_tenant(issuer: Issuer) -> None:
    """Another tenant's user is refused as an unknown one; a client of the platform has no persons, and a client with
    a wrong secret gets nothing."""
    unknown = await refused(issuer, {**exchange(), "requested_subject": "usr_2"})
    assert await refused(issuer, exchange(client_id="other")) == unknown == ("invalid_request", 400)
    assert await refused(issuer, {**exchange(), "requested_subject": ""}) == ("invalid_request", 400)
    assert await refused(issuer, exchange(client_id="platform")) == ("unauthorized_client", 400)
    assert await refused(issuer, exchange(client_secret="x")) == ("invalid_client", 401)
    assert await refused(issuer, exchange(subject_token="abc")) == ("invalid_request", 400)
    refresh = "urn:ietf:params:oauth:token-type:refresh_token"
    assert await refused(issuer, exchange(requested_token_type=refresh)) == ("invalid_request", 400)


async def test_keys_are_made_once(ring: KeyRing, stored: dict[str, bytes]) -> None:
    """A second start signs with the key of the first."""
    store = Store()
    store.secrets = dict(stored)
    assert (await KeyRing.load(store)).active.kid == ring.active.kid


async def test_a_key_id_is_its_thumbprint(ring: KeyRing) -> None:
    """A key's id is its RFC 7638 thumbprint: the digest of the required members in their order."""
    jwk = ring.active.jwk
    text = json.dumps({"e": jwk["e"], "kty": "RSA", "n": jwk["n"]}, separators=(",", ":"))
    digest = hashlib.sha256(text.encode()).digest()
    assert ring.active.kid == base64.urlsafe_b64encode(digest).decode().rstrip("=")


async def test_only_public_halves_are_published(issuer: Issuer) -> None:
    """The published keys have no private members."""
    for key in issuer.jwks()["keys"]:
        assert set(key) == {"kty", "n", "e", "kid", "use", "alg"}


async def test_rotation_keeps_the_previous_key(issuer: Issuer, ring: KeyRing, clock: ManualClock) -> None:
    """A token from before a rotation is accepted after it, also after a restart, but not after a second rotation."""
    token = (await issuer.token(grant()))["access_token"]
    before = ring.active.kid

    def verifier(keys: KeyRing) -> TokenVerifier:
        return TokenVerifier(issuer.issuer_url, "lastro-api", keys.source, clock)

    await ring.rotate()
    assert [key["kid"] for key in issuer.jwks()["keys"]] == [ring.active.kid, before]
    await verifier(ring).verify(token)
    again = await KeyRing.load(ring._store)
    await verifier(again).verify(token)
    await verifier(again).verify((await issuer.token(grant()))["access_token"])
    await ring.rotate()
    with pytest.raises(Problem, match="invalid_token"):
        await verifier(ring).verify(token)


def test_a_stored_key_of_another_kind_is_refused() -> None:
    """A stored key that is not an RSA key is refused."""
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    pem = generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for text in (pem.decode(), "rubbish"):
        with pytest.raises(ValueError):  # noqa: PT011 - the text of cryptography's error varies with its version
            SigningKey.from_pem(text)


async def post(issuer: Issuer, body: bytes | dict[str, str], **headers: str) -> tuple[int, dict[str, str], Any]:
    raw = body if isinstance(body, bytes) else urlencode(body).encode()
    status, answered, content = await issuer.answer_token({**FORM_TYPE, **headers}, raw)
    return status, answered, json.loads(content)


async def test_the_token_endpoint_answers_over_http(issuer: Issuer) -> None:
    """The token endpoint answers a form with a token, and forbids caching."""
    status, headers, answer = await post(issuer, grant(), **{"content-type": FORM_TYPE["content-type"] + "; charset=x"})
    assert status == 200
    assert headers == {"Content-Type": "application/json", "Cache-Control": "no-store", "Pragma": "no-cache"}
    assert answer["access_token"].count(".") == 2


async def test_a_refusal_is_rfc_6749s(issuer: Issuer) -> None:
    """Wrong client credentials are answered with 401 and a challenge; a refusal forbids caching and contains no
    secret."""
    status, headers, answer = await post(issuer, grant(client_secret="guess"))
    assert status == 401
    assert headers["WWW-Authenticate"].startswith("Basic")
    assert headers["Cache-Control"] == "no-store"
    assert answer["error"] == "invalid_client"
    assert "guess" not in json.dumps(answer)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b'{"grant_type":"client_credentials"}', "application/json"),
        (b"grant_type=client_credentials", ""),
        (b"grant_type=client_credentials&grant_type=client_credentials", FORM_TYPE["content-type"]),
        (b"\xff=1", FORM_TYPE["content-type"]),
        (b"a=%ff", FORM_TYPE["content-type"]),
        (b"&".join([b"a=1"] * 40), FORM_TYPE["content-type"]),
        (b"a=" + b"x" * 20_000, FORM_TYPE["content-type"]),
        (b"", FORM_TYPE["content-type"]),
    ],
    ids=["json", "no type", "twice", "not utf-8", "not utf-8, encoded", "many", "large", "empty"],
)
async def test_a_body_that_is_not_a_form_is_an_invalid_request(issuer: Issuer, body: bytes, content_type: str) -> None:
    """A body that cannot be read as one form is answered with 400 `invalid_request`."""
    status, _, answer = await post(issuer, body, **{"content-type": content_type})
    assert (status, answer["error"]) == (400, "invalid_request")


async def test_discovery_leads_to_the_endpoints(issuer: Issuer, clock: ManualClock) -> None:
    """A verifier that has only the issuer's URL finds the keys and accepts a token."""
    answers = {DISCOVERY_PATH: issuer.answer_discovery, CERTS_PATH: issuer.answer_jwks}

    async def fetch(url: str) -> bytes:
        status, _, body = answers[url.removeprefix(BASE)]()
        assert status == 200
        return body

    document = json.loads(await fetch(BASE + DISCOVERY_PATH))
    assert document["issuer"] == BASE + REALM_PATH
    assert document["token_endpoint"] == BASE + TOKEN_PATH
    assert document["jwks_uri"] == BASE + CERTS_PATH
    verifier = TokenVerifier(document["issuer"], "lastro-api", JwksClient(document["issuer"], clock, fetch), clock)
    token = (await issuer.token(grant()))["access_token"]
    assert (await verifier.verify(token)).tenant_id == "demo"
    clock.advance(timedelta(minutes=6))
    with pytest.raises(Problem, match="expired"):
        await verifier.verify(token)
