"""Access tokens (JSON Web Tokens, RFC 7519), verified with the issuer's published keys.

PyJWT is imported at first use, so that functions without tokens do not load it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from datetime import timedelta
from hashlib import sha256
from typing import Any, Final, NamedTuple, NoReturn

import orjson

from shared.core.clock import Clock
from shared.core.problems import Problem
from shared.ports.identity import KeySource

MAX_TOKEN_LENGTH: Final = 8192
MAX_CACHED_TOKENS: Final = 4096
DEFAULT_SCOPE: Final = "default_scope"
"""The claim with all scopes of a service's client, where its issuer puts into `scope` only what the token request has
named: a request that names none of them gets them all (RFC 6749 §3.3). Keycloak is such an issuer for scopes that can
be left out."""


class Caller(NamedTuple):
    """The identity in a verified token.

    `client_id` is the client that requested the token (`azp`); `tenant_id` is None for the platform's own
    clients; `user_id` is None for a service.
    """

    subject: str
    client_id: str
    tenant_id: str | None
    scopes: frozenset[str]
    user_id: str | None = None

    @property
    def is_platform(self) -> bool:
        """Whether the token is the platform's own, without a tenant."""
        return self.tenant_id is None


def client_secret_digest(secret: str) -> str:
    """Return the SHA-256 of a client's secret in hexadecimal, the form in which it is stored.

    A slow, salted hash protects secrets that can be guessed. Ours are 256 random bits, so a fast hash is enough.
    """
    return sha256(secret.encode()).hexdigest()


class _Validity(NamedTuple):
    """The validity of a token in seconds since the epoch, leeway included."""

    since: float
    until: float


class _Verified(NamedTuple):
    caller: Caller
    validity: _Validity
    forget_at: float
    """On the monotonic clock: setting the wall clock back does not extend a token's life."""


_MAX_SHOWN_CHARACTERS: Final = 200


class TokenVerifier:
    """Verifies access tokens.

    A verified token is cached until it expires, at most `max_cached` of them; the least recently used is removed
    first. A token whose key the issuer has removed is therefore accepted until it expires, at most five minutes.
    """

    def __init__(
        self,
        issuer: str,
        audience: str,
        key_source: KeySource,
        clock: Clock,
        leeway: timedelta = timedelta(seconds=5),
        max_cached: int = MAX_CACHED_TOKENS,
    ) -> None:
        self._issuer = issuer
        self._audience = audience
        self._keys = key_source
        self._clock = clock
        self._leeway_seconds = leeway.total_seconds()
        self._max_cached = max_cached
        self._verified: OrderedDict[str, _Verified] = OrderedDict()

    async def verify(self, token: str) -> Caller:
        """Return the caller of a token. Does not suspend for a cached token.

        Raises Problem `invalid_token` with the reason, or `dependency_unavailable` when the issuer's keys cannot be
        read.
        """
        verified = self._verified.get(token)
        if verified is not None:
            since, until = verified.validity
            now = self._clock.now().timestamp()
            if since <= now < until and self._clock.monotonic() < verified.forget_at:
                self._verified.move_to_end(token)
                return verified.caller
            del self._verified[token]
            _refuse("The token has expired." if now >= since else "The token is not valid yet.")
        if len(token) > MAX_TOKEN_LENGTH:
            _refuse(f"The token is longer than {MAX_TOKEN_LENGTH} characters.")
        claims = await self._claims(token)
        now = self._clock.now().timestamp()
        validity = self._check(claims, now)
        caller = caller_of(claims)
        self._verified[token] = _Verified(caller, validity, self._clock.monotonic() + validity.until - now)
        if len(self._verified) > self._max_cached:
            self._verified.popitem(last=False)
        return caller

    async def _claims(self, token: str) -> dict[str, Any]:
        """Verify the signature of a token and return its claims. The token's header only selects one of the known
        keys."""
        import jwt
        from jwt import api_jws

        try:
            header = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, ValueError, RecursionError):
            _refuse("The token is not a JSON Web Token.")
        kid = header.get("kid")
        key = await self._keys.key(kid) if isinstance(kid, str) else None
        if key is None:
            _refuse("The token is signed with a key that its issuer does not publish.")
        if header.get("alg") != key.algorithm_name:
            _refuse("The token's algorithm differs from the algorithm of its key.")
        try:
            payload = api_jws.decode_complete(token, key, algorithms=[key.algorithm_name])["payload"]
            claims = orjson.loads(payload)
        except (jwt.PyJWTError, ValueError, RecursionError):
            _refuse("The token's signature is not valid.")
        if not isinstance(claims, dict):
            _refuse("The token has no claims.")
        return claims

    def _other_issuer(self, issuer: object) -> str:
        """Return the reason for which a token with a valid signature is refused, with the issuers' URLs."""
        is_shown = isinstance(issuer, str) and issuer.isprintable() and len(issuer) <= _MAX_SHOWN_CHARACTERS
        by = issuer if is_shown else "another issuer"
        return (
            f"The token was issued by {by}. This server accepts the tokens of {self._issuer}, which LASTRO_IDENTITY or "
            "LASTRO_BASE_URL in its environment sets."
        )

    def _check(self, claims: dict[str, Any], now: float) -> _Validity:
        """Return the validity of a token. Raises Problem when issuer, audience, type or time are not acceptable."""
        if claims.get("iss") != self._issuer:
            _refuse(self._other_issuer(claims.get("iss")))
        audience = claims.get("aud")
        if self._audience not in (audience if isinstance(audience, list) else [audience]):
            _refuse("The token is for another audience.")
        if claims.get("typ") != "Bearer":
            _refuse("The token is not an access token.")
        until = _seconds(claims, "exp") + self._leeway_seconds
        if now >= until:
            _refuse("The token has expired.")
        since = _seconds(claims, "nbf") - self._leeway_seconds if "nbf" in claims else 0.0
        if now < since:
            _refuse("The token is not valid yet.")
        return _Validity(since, until)


def _seconds(claims: Mapping[str, Any], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        _refuse(f"The token's {name} is not a time.")
    return float(value)


def caller_of(claims: Mapping[str, Any]) -> Caller:
    """Return the caller that verified claims name.

    A tenant is exactly one non-empty string: a list or map of organizations is refused.
    Raises Problem `invalid_token`.
    """
    tenant_id = _optional_text(claims, "tenant_id")
    user_id = _optional_text(claims, "user_id")
    if user_id is not None and tenant_id is None:
        _refuse("The token has a user but no tenant.")
    if tenant_id is not None and user_id is None and "sid" in claims:
        # `sid` is the session of a person who has logged in (OpenID Connect Front-Channel Logout 1.0 §3). Without a
        # user the token would pass for one of a service, which sees the whole tenant.
        _refuse("The token is a person's and names no user.")
    return Caller(
        subject=_text(claims, "sub"),
        client_id=_text(claims, "azp"),
        tenant_id=tenant_id,
        scopes=_scopes(claims, is_service=user_id is None),
        user_id=user_id,
    )


def _scopes(claims: Mapping[str, Any], *, is_service: bool) -> frozenset[str]:
    """Return the scopes that a token grants."""
    named, all_of_client = claims.get("scope", ""), claims.get(DEFAULT_SCOPE, "")
    if not isinstance(named, str) or not isinstance(all_of_client, str):
        _refuse("The token's scope is not text.")
    scopes = frozenset(named.split())
    if not all_of_client or not is_service:
        return scopes
    granted = frozenset(all_of_client.split())
    return scopes & granted or granted


def _optional_text(claims: Mapping[str, Any], name: str) -> str | None:
    return _text(claims, name) if name in claims else None


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not value:
        _refuse(f"The token's {name} is not one text.")
    return value


def _refuse(detail: str) -> NoReturn:
    raise Problem("invalid_token", detail)
