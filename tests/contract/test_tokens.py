"""Tokens: tenants, scopes, and forged tokens."""

from __future__ import annotations

import base64
import hmac
import json
import re
from collections.abc import Callable
from datetime import timedelta
from functools import cache
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import RSAAlgorithm

from shared.identity.tenancy import PLATFORM_SCOPE, TENANT_SCOPES
from tests.contract.calling import Client, Deployment, still_clock
from tests.contract.conftest import Start

pytestmark = pytest.mark.asyncio(loop_scope="session")

CERTS = "/realms/lastro/protocol/openid-connect/certs"


@cache
def stranger() -> rsa.RSAPrivateKey:
    """A key that is not the issuer's."""
    return rsa.generate_private_key(65537, 2048)


def b64(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class Forger:
    """Makes tokens from a real one: with the issuer's own key for wrong claims, with others for wrong signatures."""

    def __init__(self, deployment: Deployment, token: str) -> None:
        issuer = deployment.platform.issuer
        assert issuer is not None
        self.active = issuer._keys.active
        self.claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
        self.genuine = token

    def claiming(self, **changes: Any) -> str:
        """Return a token with a valid signature and changed claims; `...` removes a claim."""
        content = {name: value for name, value in {**self.claims, **changes}.items() if value is not ...}
        return jwt.encode(content, self.active.private, "RS256", {"kid": self.active.kid})

    def signed(self, key: Any, algorithm: str, **headers: Any) -> str:
        """Return a token that is signed in another way."""
        return jwt.encode(self.claims, key, algorithm, {"kid": self.active.kid, **headers})

    def by_hand(self, header: dict[str, Any], sign: Callable[[bytes], bytes]) -> str:
        """Return a token that libraries refuse to make."""
        content = f"{b64(header)}.{b64(self.claims)}"
        return f"{content}.{b64(sign(content.encode()))}"

    @property
    def public_pem(self) -> bytes:
        return self.active.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.fixture
def forger(deployment: Deployment, demo: Client) -> Forger:
    return Forger(deployment, demo.token)


def stranger_jwk() -> dict[str, Any]:
    return dict(RSAAlgorithm.to_jwk(stranger().public_key(), as_dict=True))


FORGED: dict[str, Callable[[Forger], str]] = {
    "no signature": lambda f: f.by_hand({"alg": "none", "kid": f.active.kid, "typ": "JWT"}, lambda _: b""),
    "None": lambda f: f.by_hand({"alg": "None", "kid": f.active.kid}, lambda _: b""),
    "none without a key": lambda f: f.by_hand({"alg": "none"}, lambda _: b""),
    "signature cut off": lambda f: f.genuine.rpartition(".")[0] + ".",
    "HS256 with the public PEM": lambda f: f.by_hand(
        {"alg": "HS256", "kid": f.active.kid}, lambda content: hmac.digest(f.public_pem, content, "sha256")
    ),
    "HS256 with the JWK": lambda f: f.by_hand(
        {"alg": "HS256", "kid": f.active.kid},
        lambda content: hmac.digest(json.dumps(f.active.jwk).encode(), content, "sha256"),
    ),
    "HS256 with nothing": lambda f: f.by_hand(
        {"alg": "HS256", "kid": f.active.kid}, lambda content: hmac.digest(b"", content, "sha256")
    ),
    "RS512 of the right key": lambda f: f.signed(f.active.private, "RS512"),
    "PS256 of the right key": lambda f: f.signed(f.active.private, "PS256"),
    "another's key under our id": lambda f: f.signed(stranger(), "RS256"),
    "foreign kid": lambda f: f.signed(stranger(), "RS256", kid="foreign"),
    "no kid": lambda f: f.by_hand({"alg": "RS256"}, lambda _: b"\x00" * 256),
    "kid a path": lambda f: f.signed(stranger(), "RS256", kid="../../../../dev/null"),
    "kid a number": lambda f: f.by_hand({"alg": "RS256", "kid": 1}, lambda _: b"\x00" * 256),
    "jku": lambda f: f.signed(stranger(), "RS256", kid="foreign", jku="http://127.0.0.1:9/jwks"),
    "jku under our id": lambda f: f.signed(stranger(), "RS256", jku="http://127.0.0.1:9/jwks"),
    "x5u": lambda f: f.signed(stranger(), "RS256", x5u="http://127.0.0.1:9/cert"),
    "jwk": lambda f: f.signed(stranger(), "RS256", jwk=stranger_jwk()),
    "jwk without an id": lambda f: f.by_hand(
        {"alg": "RS256", "jwk": stranger_jwk()},
        lambda content: RSAAlgorithm(RSAAlgorithm.SHA256).sign(content, stranger()),
    ),
    "claims changed": lambda f: ".".join(
        [f.genuine.split(".")[0], b64({**f.claims, "tenant_id": "other"}), f.genuine.split(".")[2]]
    ),
    "expired": lambda f: f.claiming(exp=f.claims["exp"] - 600),
    "no exp": lambda f: f.claiming(exp=...),
    "exp as text": lambda f: f.claiming(exp=str(f.claims["exp"])),
    "exp infinite": lambda f: f.claiming(exp=True),
    "not yet valid": lambda f: f.claiming(nbf=f.claims["exp"]),
    "another audience": lambda f: f.claiming(aud="account"),
    "no audience": lambda f: f.claiming(aud=...),
    "another issuer": lambda f: f.claiming(iss="http://evil.example/realms/lastro"),
    "no issuer": lambda f: f.claiming(iss=...),
    "tenants in a list": lambda f: f.claiming(tenant_id=["demo"]),
    "tenants in a map": lambda f: f.claiming(tenant_id={"demo": {}}),
    "tenant empty": lambda f: f.claiming(tenant_id=""),
    "tenant null": lambda f: f.claiming(tenant_id=None),
    "tenant that is not there": lambda f: f.claiming(tenant_id="nowhere"),
    "tenant of the platform's own": lambda f: f.claiming(tenant_id="-"),
    "scopes in a list": lambda f: f.claiming(scope=["payments:read"]),
    "an ID token": lambda f: f.claiming(typ="ID"),
    "no token at all": lambda _: "hello",
    "three dots": lambda _: "..",
    "too long": lambda f: f.genuine + "A" * 20_000,
}


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED.keys())
async def test_a_forged_token_is_refused(demo: Client, forger: Forger, forge: Callable[[Forger], str]) -> None:
    """A forged, foreign or expired token is answered with 401 `invalid_token` and a challenge with that error."""
    answer = await demo.with_token(forge(forger)).get("/v1/payments")
    assert (answer.status, answer.code) == (401, "invalid_token")
    assert 'error="invalid_token"' in (answer.header("www-authenticate") or "")


async def test_a_token_of_the_forger_without_changes_is_accepted(demo: Client, forger: Forger) -> None:
    """A token that the forger makes without changes is accepted, so that the refusals above are caused by the
    changes."""
    assert (await demo.with_token(forger.claiming()).get("/v1/payments")).status == 200
    both = forger.claiming(aud=["account", "lastro-api"])
    assert (await demo.with_token(both).get("/v1/payments")).status == 200


@pytest.mark.parametrize("value", [None, ""])
async def test_a_request_without_a_token_is_refused(demo: Client, value: str | None) -> None:
    """A request without a token is answered with 401 `missing_token` and a challenge without an error (RFC 6750
    §3.1)."""
    answer = await demo.get("/v1/payments", change={"authorization": value})
    assert (answer.status, answer.code) == (401, "missing_token")
    assert answer.header("www-authenticate") == 'Bearer realm="lastro"'


@pytest.mark.parametrize("form", ["{}", "Basic {}", "Bearer", "Bearer {} {}", "Token {}", "Bearer: {}"])
async def test_a_header_of_another_form_is_invalid(demo: Client, form: str) -> None:
    """An Authorization header that is not `Bearer <token>` is refused."""
    answer = await demo.get("/v1/payments", change={"authorization": form.format(demo.token, demo.token)})
    assert (answer.status, answer.code) == (401, "invalid_token")


async def test_the_scheme_s_case_does_not_matter(demo: Client) -> None:
    """The scheme `Bearer` is accepted in any case (RFC 9110 §11.1)."""
    assert (await demo.get("/v1/payments", change={"authorization": f"bearer {demo.token}"})).status == 200


async def test_a_token_expires_after_five_minutes(start: Start) -> None:
    """A token is accepted for five minutes and the leeway, and not after."""
    clock = still_clock()
    async with start(clock) as deployment:
        client = await deployment.tenant()
        clock.advance(timedelta(seconds=299))
        assert (await client.get("/v1/payments")).status == 200
        clock.advance(timedelta(seconds=6))
        assert (await client.get("/v1/payments")).code == "invalid_token"


# Scopes


async def described(deployment: Deployment) -> list[tuple[str, str, str]]:
    """Return the method, path and scope of every operation in the OpenAPI document."""
    document = (await deployment.wire.send("GET", "/v1/openapi.json")).document
    return [
        (method.upper(), path, operation["security"][0]["token"][0])
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if operation["security"]
    ]


async def test_every_operation_needs_its_scope(deployment: Deployment, demo: Client) -> None:
    """A token with every scope except the operation's is answered with 403 `insufficient_scope`, which names the
    scope."""
    listed = await described(deployment)
    assert len(listed) > 30
    narrow = {
        scope: await deployment.tenant(" ".join(other for other in TENANT_SCOPES if other != scope))
        for scope in TENANT_SCOPES
    }
    for method, path, scope in listed:
        target = re.sub(r"\{[a-z_]+\}", "x1", path)
        client = demo if scope == PLATFORM_SCOPE else narrow[scope]
        answer = await client.send(method, target)
        assert (answer.status, answer.code) == (403, "insufficient_scope"), (method, path)
        assert scope in answer.document["detail"]
        assert 'error="insufficient_scope"' in (answer.header("www-authenticate") or "")


SCOPES = {
    "/v1/tenants": "platform:admin",
    "/v1/users": "users",
    "/v1/accounts": "accounts",
    "/v1/accounts/{account_id}/balance": "statements",
    "/v1/accounts/{account_id}/statement": "statements",
    "/v1/payments": "payments",
    "/v1/refunds": "payments",
    "/v1/deposits": "deposits",
    "/v1/returns": "deposits",
    "/v1/pix": "pix",
    "/v1/ledger": "ledger",
    "/v1/dead-letters": "operations",
    "/v1/reconciliations": "operations",
    "/v1/operations": "operations",
    "/v1/settlement-files": "operations",
    "/v1/webhook-endpoints": "webhooks",
    "/v1/platform/dead-letters": "platform:admin",
}


async def test_the_scopes_are_those_of_the_contract(deployment: Deployment) -> None:
    """Each operation's scope is the one of the contract's table: `:write` for what changes, `:read` for the rest."""
    for method, path, scope in await described(deployment):
        domain = SCOPES[max((prefix for prefix in SCOPES if path.startswith(prefix)), key=len)]
        wanted = domain if ":" in domain else f"{domain}:{'read' if method == 'GET' else 'write'}"
        assert scope == wanted, (method, path)


async def test_a_token_may_be_narrowed_and_not_widened(deployment: Deployment) -> None:
    """`scope=` in the token request narrows the client's scopes; a further scope is answered with `invalid_scope`."""
    reader = await deployment.tenant("payments:read")
    assert (await reader.get("/v1/payments")).status == 200
    assert (await reader.get("/v1/users")).code == "insufficient_scope"
    with pytest.raises(AssertionError, match="invalid_scope"):
        await deployment.tenant("payments:read platform:admin")


# Tenants


async def test_the_tenant_header_must_equal_the_tokens_tenant(deployment: Deployment, demo: Client) -> None:
    """X-Tenant-Id may have the token's tenant; any other value is answered with 403 `tenant_mismatch`."""
    other = await deployment.new_tenant()
    assert (await demo.get("/v1/payments", also=(("x-tenant-id", "demo"),))).status == 200
    for named in (other.tenant_id, "DEMO", "demo,demo", "demo demo", "-", "demo\xa0"):
        answer = await demo.get("/v1/payments", also=(("x-tenant-id", named),))
        assert (answer.status, answer.code) == (403, "tenant_mismatch"), named


async def test_a_token_without_a_tenant_is_refused_by_tenant_operations(demo: Client, forger: Forger) -> None:
    """A token without a tenant is refused by a tenant's operations, also with the scope and with X-Tenant-Id."""
    token = forger.claiming(tenant_id=...)
    for also in ((), (("x-tenant-id", "demo"),)):
        answer = await demo.with_token(token).get("/v1/payments", also=also)
        assert (answer.status, answer.code) == (403, "tenant_mismatch")


async def test_a_tenants_token_is_refused_by_platform_operations(
    demo: Client, operator: Client, forger: Forger
) -> None:
    """A tenant's token is refused by platform operations, also with platform:admin, and so is a platform token with
    X-Tenant-Id."""
    admin = demo.with_token(forger.claiming(scope="platform:admin"))
    for answer in (
        await admin.get("/v1/tenants/demo"),
        await admin.post("/v1/tenants", {"name": "Mine"}),
        await operator.get("/v1/tenants/demo", also=(("x-tenant-id", "demo"),)),
    ):
        assert (answer.status, answer.code) == (403, "tenant_mismatch")


async def test_the_platforms_token_has_no_tenant_scope(operator: Client) -> None:
    """The operator's client gets no tenant scope."""
    answer = await operator.get("/v1/payments", also=(("x-tenant-id", "demo"),))
    assert (answer.status, answer.code) == (403, "insufficient_scope")


async def test_a_suspended_tenant_is_refused(deployment: Deployment) -> None:
    """While a tenant is suspended, all its requests are answered with 403 `tenant_suspended`; afterwards they are
    accepted."""
    client = await deployment.new_tenant()
    operator = await deployment.operator()
    path = f"/v1/tenants/{client.tenant_id}"
    assert (await operator.made(f"{path}/suspend", {}))["status"] == "suspended"
    for answer in (await client.get("/v1/payments"), await client.post("/v1/users", {})):
        assert (answer.status, answer.code) == (403, "tenant_suspended")
    assert (await operator.made(f"{path}/activate", {}))["status"] == "active"
    assert (await client.get("/v1/payments")).status == 200
