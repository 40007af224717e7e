"""The behaviour of an issuer of access tokens, with the verifier that uses its keys. The tests of the local issuer and
of Keycloak inherit it.

A subclass has a fixture `issuer` that returns an IssuerUnderTest.
"""

from __future__ import annotations

import hmac
import json
from abc import ABC, abstractmethod
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any, Final, NamedTuple

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import RSAAlgorithm

from shared.core.clock import Clock
from shared.core.problems import Problem
from shared.identity.tenancy import PLATFORM_SCOPE, TENANT_SCOPES
from shared.identity.tokens import TokenVerifier
from shared.ports.identity import KeySource

AUDIENCE: Final = "lastro-api"


class Credentials(NamedTuple):
    """A client's id and secret."""

    client_id: str
    secret: str


class TokenAnswer(NamedTuple):
    """The answer of the token endpoint."""

    status: int
    document: dict[str, Any]


class IssuerUnderTest(ABC):
    """An issuer, and what a test does with it."""

    url: str
    keys: KeySource
    """The keys as the platform reads them."""
    clock: Clock

    @abstractmethod
    async def tenant_client(self, tenant_id: str) -> Credentials:
        """Register a client of this tenant with all scopes of a tenant, and return its credentials."""

    @abstractmethod
    async def platform_client(self) -> Credentials:
        """Return the credentials of the platform's own client."""

    @abstractmethod
    async def ask(self, client: Credentials, **form: str) -> TokenAnswer:
        """Send a request for a token."""

    @abstractmethod
    async def rotate(self) -> None:
        """Start to sign with a new key. Tokens of the previous key stay valid."""

    async def token(self, client: Credentials, **form: str) -> str:
        """Return a token by client credentials."""
        answer = await self.ask(client, grant_type="client_credentials", **form)
        assert answer.status == 200, answer
        return str(answer.document["access_token"])

    def verifier(self, *, audience: str = AUDIENCE, issuer: str | None = None) -> TokenVerifier:
        """Return a new verifier, as a process of the platform has one."""
        return TokenVerifier(issuer or self.url, audience, self.keys, self.clock)


def claims_of(token: str) -> dict[str, Any]:
    """Return the claims of a token without verifying it."""
    return json.loads(_decoded(token.split(".")[1]))  # type: ignore[no-any-return]  # claims are an object


def _decoded(part: str) -> bytes:
    return urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _encoded(value: Any) -> str:
    return urlsafe_b64encode(value if isinstance(value, bytes) else json.dumps(value).encode()).rstrip(b"=").decode()


async def refused(verifier: TokenVerifier, token: str) -> str:
    """Return the detail with which a token is refused."""
    with pytest.raises(Problem) as caught:
        await verifier.verify(token)
    assert caught.value.code == "invalid_token"
    return caught.value.detail


class IdentitySuite:
    """Behaviour of an issuer of access tokens."""

    async def test_a_token_of_a_tenants_client(self, issuer: IssuerUnderTest) -> None:
        """A token of a tenant's client verifies by the published keys; it has the tenant, every scope of a tenant, no
        user and no scope of the platform, and is valid for five minutes."""
        token = await issuer.token(await issuer.tenant_client("acme"))
        caller = await issuer.verifier().verify(token)
        assert (caller.tenant_id, caller.user_id) == ("acme", None)
        assert caller.scopes == frozenset(TENANT_SCOPES)
        claims = claims_of(token)
        assert claims["exp"] - claims["iat"] == 300
        assert (claims["iss"], claims["aud"], claims["typ"]) == (issuer.url, AUDIENCE, "Bearer")
        assert jwt.get_unverified_header(token)["alg"] == "RS256"

    async def test_a_token_of_the_platforms_client(self, issuer: IssuerUnderTest) -> None:
        """A token of the platform's client has no tenant and only the scope of the platform."""
        caller = await issuer.verifier().verify(await issuer.token(await issuer.platform_client()))
        assert (caller.tenant_id, caller.user_id) == (None, None)
        assert caller.scopes == {PLATFORM_SCOPE}

    async def test_a_wrong_secret_gets_no_token(self, issuer: IssuerUnderTest) -> None:
        """A wrong secret and an unknown client are answered alike, with 401 and `invalid_client`."""
        client = await issuer.tenant_client("acme")
        for wrong in (client._replace(secret="wrong"), Credentials("cli_unknown", client.secret)):
            answer = await issuer.ask(wrong, grant_type="client_credentials")
            assert answer.status == 401
            assert answer.document["error"] in ("invalid_client", "unauthorized_client")

    async def test_a_client_cannot_choose_its_tenant(self, issuer: IssuerUnderTest) -> None:
        """No parameter of a token request changes the tenant or adds a scope that the client does not have."""
        client = await issuer.tenant_client("acme")
        wishes = (
            {"tenant_id": "other"},
            {"claims": json.dumps({"access_token": {"tenant_id": {"value": "other"}}})},
            {"audience": "lastro-api", "resource": "other"},
        )
        for form in wishes:
            answer = await issuer.ask(client, grant_type="client_credentials", **form)
            if answer.status == 200:
                caller = await issuer.verifier().verify(answer.document["access_token"])
                assert caller.tenant_id == "acme"
        answer = await issuer.ask(client, grant_type="client_credentials", scope=PLATFORM_SCOPE)
        assert answer.status == 400
        assert answer.document["error"] == "invalid_scope"

    async def test_a_password_is_no_grant(self, issuer: IssuerUnderTest) -> None:
        """A tenant's client cannot exchange a person's password for a token."""
        client = await issuer.tenant_client("acme")
        answer = await issuer.ask(client, grant_type="password", username="ana", password="x")
        assert answer.status in (400, 401)
        assert answer.document["error"] in ("unauthorized_client", "unsupported_grant_type")

    async def test_another_audience_or_issuer_is_refused(self, issuer: IssuerUnderTest) -> None:
        """A token is refused by a platform that expects another audience or another issuer."""
        token = await issuer.token(await issuer.tenant_client("acme"))
        assert "another audience" in await refused(issuer.verifier(audience="another-api"), token)
        assert "was issued by" in await refused(issuer.verifier(issuer=f"{issuer.url}2"), token)

    async def test_forged_tokens_are_refused(self, issuer: IssuerUnderTest) -> None:
        """A token without an algorithm, with the public key as the secret of HS256, with the key of a stranger, or with
        other claims under the same signature is refused."""
        token = await issuer.token(await issuer.tenant_client("acme"))
        head, _, signature = token.split(".")
        claims = claims_of(token)
        kid = jwt.get_unverified_header(token)["kid"]
        key = await issuer.keys.key(kid)
        assert key is not None
        pem = key.key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        jwk = RSAAlgorithm.to_jwk(key.key).encode()
        other = {**claims, "tenant_id": "other"}
        unsigned = f"{_encoded({'alg': 'HS256', 'typ': 'JWT', 'kid': kid})}.{_encoded(other)}"
        stranger = rsa.generate_private_key(65537, 2048)
        forged = [
            f"{_encoded({'alg': 'none', 'kid': kid})}.{_encoded(other)}.",
            *(f"{unsigned}.{_encoded(hmac.digest(secret, unsigned.encode(), 'sha256'))}" for secret in (pem, jwk)),
            jwt.encode(other, stranger, "RS256", {"kid": kid}),
            jwt.encode(other, stranger, "RS256", {"kid": "stranger", "jwk": json.loads(jwk)}),
            f"{head}.{_encoded(other)}.{signature}",
            f"{head}.{_encoded({**claims, 'tenant_id': ['acme', 'other']})}.{signature}",
        ]
        verifier = issuer.verifier()
        for attempt in forged:
            await refused(verifier, attempt)
        await verifier.verify(token)

    async def test_a_rotation_refuses_no_request(self, issuer: IssuerUnderTest) -> None:
        """Tokens of the old and of the new key are accepted during a rotation, in processes that have read the keys
        before and in new ones."""
        client = await issuer.tenant_client("acme")
        before = await issuer.token(client)
        running = issuer.verifier()
        await running.verify(before)
        await issuer.rotate()
        after = await issuer.token(client)
        kids = [jwt.get_unverified_header(token)["kid"] for token in (before, after)]
        assert kids[0] != kids[1]
        for verifier in (running, issuer.verifier()):
            for token in (after, before):
                assert (await verifier.verify(token)).tenant_id == "acme"
