"""Access tokens: accepted and refused tokens, and the sources of keys."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
from collections import Counter
from datetime import timedelta
from functools import cache
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from shared.core.clock import ManualClock
from shared.core.problems import Problem
from shared.identity.keys import JwksClient, StaticKeys, read_jwks
from shared.identity.tokens import Caller, TokenVerifier, client_secret_digest
from tests.waiting import PATIENCE_SECONDS

ISSUER = "http://127.0.0.1:8080/realms/lastro"
CERTS = f"{ISSUER}/protocol/openid-connect/certs"


@cache
def rsa_key(name: str, bits: int = 2048) -> rsa.RSAPrivateKey:
    """Return the RSA key of a name. Keys are cached, because making them is slow."""
    assert name
    return rsa.generate_private_key(65537, bits)


@cache
def ec_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def rsa_jwk(name: str, **members: str) -> dict[str, Any]:
    return {**RSAAlgorithm.to_jwk(rsa_key(name).public_key(), as_dict=True), "kid": name, **members}


def ec_jwk(**members: str) -> dict[str, Any]:
    return {**ECAlgorithm.to_jwk(ec_key().public_key(), as_dict=True), "kid": "ec", **members}


def jwks(*keys: dict[str, Any]) -> dict[str, Any]:
    return {"keys": list(keys)}


def claims(clock: ManualClock, **changes: Any) -> dict[str, Any]:
    now = int(clock.now().timestamp())
    content = {
        "iss": ISSUER,
        "aud": "lastro-api",
        "azp": "client-1",
        "sub": "service-1",
        "scope": "payments:read payments:write",
        "tenant_id": "demo",
        "typ": "Bearer",
        "jti": "1",
        "iat": now,
        "nbf": now,
        "exp": now + 300,
        **changes,
    }
    return {name: value for name, value in content.items() if value is not ...}


def signed(content: dict[str, Any], kid: str = "one", **headers: Any) -> str:
    return jwt.encode(content, rsa_key(kid), "RS256", {"kid": kid, **headers})


def b64(data: bytes | dict[str, Any]) -> str:
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def verifier(clock: ManualClock) -> TokenVerifier:
    return TokenVerifier(ISSUER, "lastro-api", StaticKeys(jwks(rsa_jwk("one"), ec_jwk())), clock)


async def refusal(verifier: TokenVerifier, token: str) -> Problem:
    with pytest.raises(Problem) as caught:
        await verifier.verify(token)
    assert caught.value.code == "invalid_token"
    return caught.value


async def test_a_tenants_token_gives_its_caller(verifier: TokenVerifier, clock: ManualClock) -> None:
    """The caller has the subject, client, tenant and scopes of the token."""
    caller = await verifier.verify(signed(claims(clock)))
    assert caller == Caller("service-1", "client-1", "demo", frozenset({"payments:read", "payments:write"}))
    assert not caller.is_platform


async def test_a_platform_token_has_no_tenant(verifier: TokenVerifier, clock: ManualClock) -> None:
    """A token without the tenant claim gives a caller of the platform."""
    caller = await verifier.verify(signed(claims(clock, tenant_id=..., scope="platform:admin")))
    assert caller.is_platform
    assert caller.tenant_id is None


@pytest.mark.parametrize(
    ("scope", "granted"),
    [
        ("payments:read", {"payments:read"}),
        ("openid payments:read accounts:read", {"payments:read", "accounts:read"}),
        ("payments:read platform:admin", {"payments:read"}),
        ("openid", {"payments:read", "accounts:read"}),
        (..., {"payments:read", "accounts:read"}),
    ],
)
async def test_a_service_s_token_has_the_scopes_that_were_named_or_all(
    verifier: TokenVerifier, clock: ManualClock, scope: Any, granted: set[str]
) -> None:
    """Where the issuer leaves scopes out that a request did not name, the token grants those that it named, of those of
    the client, and all of the client's when it named none."""
    content = claims(clock, scope=scope, default_scope="payments:read accounts:read")
    assert (await verifier.verify(signed(content))).scopes == granted


async def test_a_person_s_token_has_no_scope_by_default(verifier: TokenVerifier, clock: ManualClock) -> None:
    """A person has only the scopes that the token names."""
    content = claims(clock, user_id="usr_1", scope="openid", default_scope="payments:write")
    assert (await verifier.verify(signed(content))).scopes == {"openid"}


async def test_an_elliptic_key_verifies_es256(verifier: TokenVerifier, clock: ManualClock) -> None:
    """A P-256 key verifies ES256, and a user's token gives the user."""
    token = jwt.encode(claims(clock, user_id="usr_1", aud=["account", "lastro-api"]), ec_key(), "ES256", {"kid": "ec"})
    assert (await verifier.verify(token)).user_id == "usr_1"


BAD_CLAIMS: dict[str, dict[str, Any]] = {
    "another issuer": {"iss": "http://elsewhere/realms/lastro"},
    "issuer with a slash": {"iss": ISSUER + "/"},
    "no issuer": {"iss": ...},
    "another audience": {"aud": "account"},
    "audiences without ours": {"aud": ["account", "lastro-api-2"]},
    "no audience": {"aud": ...},
    "audience as a map": {"aud": {"lastro-api": 1}},
    "an id token": {"typ": "ID"},
    "a refresh token": {"typ": "Refresh"},
    "no type": {"typ": ...},
    "no expiry": {"exp": ...},
    "expiry as text": {"exp": "9999999999"},
    "expiry as truth": {"exp": True},
    "start as null": {"nbf": None},
    "start as truth": {"nbf": True},
    "no subject": {"sub": ...},
    "empty subject": {"sub": ""},
    "no client": {"azp": ...},
    "scope as a list": {"scope": ["platform:admin"]},
    "default scope as a list": {"default_scope": ["platform:admin"]},
    "two tenants": {"tenant_id": ["demo", "other"]},
    "a list of one tenant": {"tenant_id": ["demo"]},
    "a map of tenants": {"tenant_id": {"demo": {}}},
    "an empty tenant": {"tenant_id": ""},
    "null as tenant": {"tenant_id": None},
    "a number as tenant": {"tenant_id": 1},
    "an empty user": {"user_id": ""},
    "a user without tenant": {"user_id": "usr_1", "tenant_id": ...},
}


@pytest.mark.parametrize("changes", BAD_CLAIMS.values(), ids=BAD_CLAIMS.keys())
async def test_claims_are_checked(verifier: TokenVerifier, clock: ManualClock, changes: dict[str, Any]) -> None:
    """A token with a valid signature and wrong claims is refused."""
    # PyJWT refuses to sign some of these claims, so the payload is signed as bytes.
    payload = json.dumps(claims(clock, **changes)).encode()
    token = jwt.PyJWS().encode(payload, rsa_key("one"), "RS256", {"kid": "one"})
    await refusal(verifier, token)


async def test_a_token_of_another_issuer_is_refused_with_both_issuers(
    verifier: TokenVerifier, clock: ManualClock
) -> None:
    """The detail has the token's issuer, if it is short text, and this server's issuer with the settings that choose
    it."""
    detail = (await refusal(verifier, signed(claims(clock, iss="http://elsewhere/realms/lastro")))).detail
    assert "issued by http://elsewhere/realms/lastro." in detail
    assert f"accepts the tokens of {ISSUER}, which LASTRO_IDENTITY or LASTRO_BASE_URL" in detail
    for issuer in ("x" * 1000, "a\nb", ...):
        assert "issued by another issuer." in (await refusal(verifier, signed(claims(clock, iss=issuer)))).detail


async def test_a_payload_that_is_no_object_is_refused(verifier: TokenVerifier) -> None:
    """A signed payload that is not a JSON object is refused."""
    for payload in (b"[]", b'"x"', b"{", b"\xff"):
        await refusal(verifier, jwt.PyJWS().encode(payload, rsa_key("one"), "RS256", {"kid": "one"}))


async def test_validity_follows_the_clock(verifier: TokenVerifier, clock: ManualClock) -> None:
    """A token is valid from `nbf` to `exp`, each extended by the leeway, by the injected clock."""
    start, early = clock.now(), claims(clock, nbf=int(clock.now().timestamp()) + 10)
    assert "not valid yet" in (await refusal(verifier, signed(early))).detail
    clock.advance(timedelta(seconds=5))
    await verifier.verify(signed(early))
    token = signed(claims(ManualClock(start), jti="2"))
    clock.advance(timedelta(seconds=299, microseconds=999_999))
    await verifier.verify(token)
    clock.advance(timedelta(microseconds=1))
    assert "expired" in (await refusal(verifier, token)).detail
    unseen = signed(claims(ManualClock(start), jti="3"))
    assert "expired" in (await refusal(verifier, unseen)).detail


async def test_a_cached_token_still_expires(verifier: TokenVerifier, clock: ManualClock) -> None:
    """A cached token is refused after `exp`, at the first use and at later ones."""
    token = signed(claims(clock))
    assert await verifier.verify(token) is await verifier.verify(token)
    clock.advance(timedelta(seconds=306))
    for _ in range(2):
        assert "expired" in (await refusal(verifier, token)).detail


@pytest.mark.parametrize("steps", [(-3600,), (3600, -3600), (-3600, 3600)], ids=str)
async def test_a_cached_token_expires_after_a_jump_of_the_wall_clock(
    verifier: TokenVerifier, clock: ManualClock, steps: tuple[int, ...]
) -> None:
    """A cached token is refused after its lifetime of five minutes, also when the wall clock jumps."""
    token = signed(claims(clock))
    await verifier.verify(token)
    for step in steps:
        clock.jump(timedelta(seconds=step))
    clock.advance(timedelta(seconds=306))
    await refusal(verifier, token)


async def test_validity_follows_the_present_wall_clock(verifier: TokenVerifier, clock: ManualClock) -> None:
    """After the wall clock was set back by an hour, an old token is not valid yet and a new one is accepted; after it
    was set forwards, both have expired."""
    old = signed(claims(clock))
    await verifier.verify(old)
    clock.jump(timedelta(hours=-1))
    assert "not valid yet" in (await refusal(verifier, old)).detail
    new = signed(claims(clock))
    await verifier.verify(new)
    clock.jump(timedelta(hours=1))
    assert "expired" in (await refusal(verifier, new)).detail
    await verifier.verify(old)


async def test_forged_tokens_are_refused(verifier: TokenVerifier, clock: ManualClock) -> None:
    """A token without an algorithm, with the public key as secret, with another key or key id, or with a changed
    payload is refused."""
    content = claims(clock)
    public = rsa_key("one").public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    head = b64({"alg": "HS256", "kid": "one"}) + "." + b64(content)
    genuine = signed(content)
    changed = genuine.split(".")
    changed[1] = b64({**content, "tenant_id": "other"})
    forged = [
        b64({"alg": "none", "kid": "one"}) + "." + b64(content) + ".",
        b64({"alg": "None", "kid": "one"}) + "." + b64(content) + ".",
        f"{head}.{b64(hmac.digest(public, head.encode(), 'sha256'))}",
        f"{head}.{b64(hmac.digest(json.dumps(rsa_jwk('one')).encode(), head.encode(), 'sha256'))}",
        jwt.encode(content, rsa_key("stranger"), "RS256", {"kid": "one"}),
        signed(content, "stranger"),
        jwt.encode(content, rsa_key("one"), "RS256"),
        jwt.encode(content, rsa_key("one"), "RS512", {"kid": "one"}),
        jwt.encode(content, rsa_key("one"), "PS256", {"kid": "one"}),
        jwt.encode(content, rsa_key("one"), "RS256", {"kid": "ec"}),
        jwt.encode(content, ec_key(), "ES256", {"kid": "one"}),
        ".".join(changed),
        genuine.rsplit(".", 1)[0] + ".",
        genuine.rsplit(".", 1)[0],
    ]
    for token in forged:
        await refusal(verifier, token)


async def test_keys_in_the_header_are_ignored(verifier: TokenVerifier, clock: ManualClock) -> None:
    """A key, or the URL of a key, in the token's header is ignored."""
    own = rsa_jwk("stranger")
    for header in ({"jwk": own}, {"jku": "http://evil/jwks"}, {"x5u": "http://evil/x"}, {"x5c": ["AAAA"]}):
        await refusal(verifier, jwt.encode(claims(clock), rsa_key("stranger"), "RS256", {"kid": "one", **header}))
        await refusal(verifier, signed(claims(clock), "stranger", **header))
        await verifier.verify(signed(claims(clock, jti=str(header)), **header))


async def test_a_critical_extension_is_refused(verifier: TokenVerifier, clock: ManualClock) -> None:
    """A token with an unknown critical header is refused (RFC 7515 §4.1.11)."""
    await refusal(verifier, signed(claims(clock), crit=["exotic"], exotic=1))


GARBAGE = [
    "",
    "a",
    "a.b",
    "a.b.c",
    "....",
    "é.é.é",
    "\ud800.a.b",
    b64(b"[" * 5000) + ".e30.AA",
    b64({"kid": 1, "alg": "RS256"}) + ".e30.AA",
    b64(b"[]") + ".e30.AA",
    "x" * 8193,
]


@pytest.mark.parametrize("token", GARBAGE, ids=range(len(GARBAGE)))
async def test_garbage_is_an_invalid_token(verifier: TokenVerifier, token: str) -> None:
    """Any text after `Bearer` is refused without an internal error."""
    await refusal(verifier, token)


async def test_the_cache_is_bounded(clock: ManualClock) -> None:
    """A full cache drops the token that was not used for the longest time."""
    verifier = TokenVerifier(ISSUER, "lastro-api", StaticKeys(jwks(rsa_jwk("one"))), clock, max_cached=2)
    tokens = [signed(claims(clock, jti=str(number))) for number in range(3)]
    first, second = [await verifier.verify(token) for token in tokens[:2]]
    await verifier.verify(tokens[0])
    await verifier.verify(tokens[2])
    assert await verifier.verify(tokens[0]) is first
    assert await verifier.verify(tokens[1]) is not second


def test_only_strong_signing_keys_are_read() -> None:
    """Encryption keys, other algorithms and curves, secrets, and short or invalid keys are ignored."""
    short = RSAAlgorithm.to_jwk(rsa_key("short", 1024).public_key(), as_dict=True)
    p384 = ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP384R1()).public_key(), as_dict=True)
    keys = read_jwks(
        jwks(
            rsa_jwk("one"),
            ec_jwk(),
            rsa_jwk("two", use="enc"),
            rsa_jwk("two", alg="RS512"),
            {**short, "kid": "short"},
            {**p384, "kid": "p384"},
            {"kty": "oct", "k": "AAAA", "kid": "oct"},
            {"kty": "RSA", "kid": "broken", "n": "!", "e": "AQAB"},
            {"kty": "EC", "crv": "P-256", "kid": "broken"},
            {"kty": ["RSA"], "kid": "odd"},
            {name: value for name, value in rsa_jwk("one").items() if name != "kid"},
        )
        | {"more": 1}
    )
    assert {kid: key.algorithm_name for kid, key in keys.items()} == {"one": "RS256", "ec": "ES256"}


@pytest.mark.parametrize("document", [None, [], {}, {"keys": {}}, {"keys": None}])
def test_a_document_that_is_not_a_key_set_is_refused(document: object) -> None:
    """A document that is not a key set is an error and not an empty set."""
    with pytest.raises(ValueError, match="JWK set"):
        read_jwks(document)


async def test_static_keys_can_be_replaced() -> None:
    """After static keys are replaced, only the new keys are valid."""
    keys = StaticKeys(jwks(rsa_jwk("one")))
    assert await keys.key("one") is not None
    keys.replace(jwks(rsa_jwk("two")))
    assert await keys.key("one") is None
    assert await keys.key("two") is not None


def test_a_client_secret_is_stored_as_its_digest() -> None:
    """A client secret is stored as its SHA-256 digest (FIPS 180-4's example "abc")."""
    assert client_secret_digest("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


class Publisher:
    """An issuer's web server, which a test can make fail."""

    def __init__(self, *kids: str) -> None:
        self.kids = list(kids)
        self.reads = 0
        self.broken: Exception | None = None
        self.documents: dict[str, Any] = {}
        self.gate = asyncio.Event()
        self.gate.set()

    async def fetch(self, url: str) -> bytes:
        await self.gate.wait()
        if self.broken is not None:
            self.reads += 1
            raise self.broken
        if url in self.documents:
            return json.dumps(self.documents[url]).encode()
        if url == f"{ISSUER}/.well-known/openid-configuration":
            return json.dumps({"issuer": ISSUER, "jwks_uri": CERTS}).encode()
        assert url == CERTS
        self.reads += 1
        return json.dumps(jwks(*(rsa_jwk(kid) for kid in self.kids))).encode()


async def test_published_keys_are_found_by_discovery_and_cached(clock: ManualClock) -> None:
    """The key set is read once for many tokens and concurrent callers."""
    publisher = Publisher("one", "two")
    client = JwksClient(ISSUER, clock, publisher.fetch)
    found = await asyncio.gather(*(client.key(kid) for kid in ("one", "two", "one")))
    assert all(found)
    assert publisher.reads == 1


async def test_an_unknown_id_reads_the_set_at_most_once_per_cooldown(clock: ManualClock) -> None:
    """An unknown key id reads the set at most once in the cooldown, and a new key is found after it."""
    publisher = Publisher("one")
    client = JwksClient(ISSUER, clock, publisher.fetch, cooldown=timedelta(seconds=10))
    await client.key("one")
    for number in range(20):
        assert await client.key(f"forged-{number}") is None
    publisher.kids.append("two")
    assert await client.key("two") is None
    assert publisher.reads == 2
    clock.advance(timedelta(seconds=10))
    assert await client.key("two") is not None
    assert await client.key("forged") is None
    assert publisher.reads == 3


async def test_a_rotation_right_after_a_read_passes(clock: ManualClock) -> None:
    """A key that the issuer begins to use a moment after the set was read is found at once."""
    publisher = Publisher("one")
    client = JwksClient(ISSUER, clock, publisher.fetch)
    await client.key("one")
    publisher.kids = ["two", "one"]
    assert await client.key("two") is not None
    assert publisher.reads == 2


async def test_a_known_key_does_not_wait_for_the_issuer(clock: ManualClock) -> None:
    """When the key set is older than five minutes, a known key is returned at once, also when the issuer hangs, and
    the set is read in the background."""
    publisher = Publisher("one")
    client = JwksClient(ISSUER, clock, publisher.fetch)
    await client.key("one")
    publisher.gate.clear()
    publisher.kids = ["two"]
    clock.advance(timedelta(minutes=6))
    for _ in range(3):
        assert await client.key("one") is not None
    publisher.gate.set()
    assert await client.key("two") is not None
    assert publisher.reads == 2
    assert await client.key("one") is None


async def test_a_cancelled_request_does_not_stop_the_read(clock: ManualClock) -> None:
    """Requests with an unknown key id share one read, which goes on when one of them is cancelled."""
    publisher = Publisher("one")
    publisher.gate.clear()
    client = JwksClient(ISSUER, clock, publisher.fetch)
    first, second = asyncio.create_task(client.key("one")), asyncio.create_task(client.key("one"))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait((first,))
    publisher.gate.set()
    assert await second is not None
    assert publisher.reads == 1


async def test_an_outage_is_logged_once_counted_and_reported(
    clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """An outage is one warning in the log that says how long the known keys are used, a reason in `impairment`, and a
    count of each failed read and of each use of an old key; its end is one line."""
    counts: Counter[str] = Counter()
    publisher = Publisher("one")
    client = JwksClient(ISSUER, clock, publisher.fetch, count=lambda name, label: counts.update([f"{name} {label}"]))
    await client.key("one")
    publisher.broken = OSError("down")
    for _ in range(5):
        clock.advance(timedelta(hours=2))
        assert await client.key("one") is not None
        assert await client.trouble() is None
        assert "down; the known keys stay in use for another" in (client.impairment() or "")
    assert counts["identity_stale_keys_used "] == 4
    assert counts["identity_key_reads failed"] >= 5
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "the known keys stay in use for another 79200 s" in caplog.text
    clock.advance(timedelta(hours=15))
    assert await client.trouble() == f"the keys of {ISSUER} cannot be read: down"
    publisher.broken = None
    clock.advance(timedelta(seconds=10))
    assert await client.trouble() is None
    assert client.impairment() is None
    assert counts["identity_key_reads read"] == 2


async def test_an_issuer_without_keys_does_not_replace_the_known_ones(clock: ManualClock) -> None:
    """An empty key set is treated as an outage: no issuer that has issued a token is without a key."""
    publisher = Publisher("one")
    client = JwksClient(ISSUER, clock, publisher.fetch)
    await client.key("one")
    publisher.kids = []
    clock.advance(timedelta(minutes=61))
    assert await client.key("one") is not None
    assert "publishes no key" in (client.impairment() or "")


async def test_a_withdrawn_key_is_refused_after_the_next_read(clock: ManualClock) -> None:
    """A key set older than an hour is read again, and a key that it no longer contains is refused."""
    publisher = Publisher("one", "two")
    client = JwksClient(ISSUER, clock, publisher.fetch)
    assert await client.key("one") is not None
    publisher.kids = ["two"]
    clock.advance(timedelta(minutes=61))
    assert await client.key("one") is None
    assert await client.key("two") is not None


@pytest.mark.parametrize("error", [OSError("down"), ValueError("rubbish"), TimeoutError()], ids=repr)
async def test_known_keys_are_used_during_an_outage(clock: ManualClock, error: Exception) -> None:
    """During an outage known keys are valid for a day, and an unknown key id raises Unavailable and is not treated as
    a forgery."""
    publisher = Publisher("one")
    client = JwksClient(ISSUER, clock, publisher.fetch)
    await client.key("one")
    publisher.broken = error
    clock.advance(timedelta(hours=2))
    assert await client.key("one") is not None
    with pytest.raises(Problem, match="dependency_unavailable"):
        await client.key("two")
    assert publisher.reads == 2
    clock.advance(timedelta(hours=22))
    with pytest.raises(Problem, match="dependency_unavailable"):
        await client.key("one")
    publisher.broken = None
    clock.advance(timedelta(seconds=1))
    assert await client.key("one") is not None


@pytest.mark.parametrize("step", [timedelta(days=-2), timedelta(days=2)], ids=str)
async def test_the_age_of_a_set_does_not_depend_on_the_wall_clock(clock: ManualClock, step: timedelta) -> None:
    """A jump of the wall clock in either direction does not change the age of a key set."""
    publisher = Publisher("one")
    client = JwksClient(ISSUER, clock, publisher.fetch)
    await client.key("one")
    clock.jump(step)
    publisher.broken = OSError("down")
    assert await client.key("one") is not None
    assert publisher.reads == 1
    publisher.broken = None
    clock.advance(timedelta(minutes=61))
    assert await client.key("one") is not None
    assert publisher.reads == 2


async def test_callers_with_a_known_key_do_not_wait_for_a_new_read(clock: ManualClock) -> None:
    """While a key set is read again, callers with a known key do not wait."""
    publisher = Publisher("one")
    client = JwksClient(ISSUER, clock, publisher.fetch)
    await client.key("one")
    clock.advance(timedelta(hours=2))
    publisher.gate.clear()
    reader = asyncio.create_task(client.key("one"))
    await asyncio.sleep(0)
    assert await asyncio.wait_for(client.key("one"), PATIENCE_SECONDS) is not None
    publisher.gate.set()
    assert await reader is not None
    assert publisher.reads == 2


DISCOVERY = f"{ISSUER}/.well-known/openid-configuration"


@pytest.mark.parametrize(
    "documents",
    [
        {DISCOVERY: {"issuer": "http://evil", "jwks_uri": CERTS}},
        {DISCOVERY: {"issuer": ISSUER}},
        {DISCOVERY: []},
        {CERTS: {"error": "x"}},
    ],
    ids=["another issuer", "no jwks_uri", "no object", "no key set"],
)
async def test_a_wrong_document_is_an_outage(clock: ManualClock, documents: dict[str, Any]) -> None:
    """An invalid document of the issuer is treated as an outage."""
    publisher = Publisher("one")
    publisher.documents = documents
    with pytest.raises(Problem, match="dependency_unavailable"):
        await JwksClient(ISSUER, clock, publisher.fetch).key("one")


async def test_an_outage_of_the_issuer_is_503(clock: ManualClock) -> None:
    """A token that cannot be verified during an outage is answered with 503 and not 401."""
    publisher = Publisher()
    publisher.broken = OSError("down")
    verifier = TokenVerifier(ISSUER, "lastro-api", JwksClient(ISSUER, clock, publisher.fetch), clock)
    with pytest.raises(Problem, match="dependency_unavailable"):
        await verifier.verify(signed(claims(clock)))


async def test_a_persons_token_names_a_user(verifier: TokenVerifier, clock: ManualClock) -> None:
    """A token of a login session (`sid`) that has a tenant and no user is refused; with a user, or without a tenant, it
    is accepted."""
    assert "names no user" in (await refusal(verifier, signed(claims(clock, sid="s1")))).detail
    assert (await verifier.verify(signed(claims(clock, sid="s1", user_id="usr_1")))).user_id == "usr_1"
    operator = claims(clock, sid="s1")
    del operator["tenant_id"]
    assert (await verifier.verify(signed(operator))).is_platform
