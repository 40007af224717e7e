"""Access tokens (JSON Web Tokens, RFC 7519), verified with the issuer's published keys.

PyJWT and httpx are imported at first use, so that functions without tokens do not load them.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn, Protocol

import orjson

from shared.core.clock import Clock
from shared.core.problems import Problem

if TYPE_CHECKING:
    from jwt import PyJWK

log = logging.getLogger(__name__)

MAX_TOKEN_LENGTH: Final = 8192
MAX_CACHED_TOKENS: Final = 4096
MAX_JWKS_BYTES: Final = 256 * 1024
MIN_RSA_BITS: Final = 2048
FETCH_TIMEOUT_SECONDS: Final = 5.0

Fetch = Callable[[str], Awaitable[bytes]]
"""Return the content of a URL. Raises OSError or ValueError."""


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


class KeySource(Protocol):
    """A source of an issuer's public keys."""

    async def key(self, kid: str) -> PyJWK | None:
        """Return the key with this id, or None when the issuer has none.

        Raises Problem `dependency_unavailable` when the issuer cannot be reached.
        """
        ...


def read_jwks(document: Any) -> dict[str, PyJWK]:
    """Return the keys of a JWK set (RFC 7517) that may verify tokens, by id.

    Only RSA keys of 2048 bits or more (for RS256) and keys on P-256 (for ES256) are used; others are ignored. A key has
    one algorithm, whatever a token's header says. Raises ValueError when the value is not a JWK set.
    """
    members = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(members, list):
        raise ValueError("not a JWK set")  # noqa: TRY004 - what was read is wrong, not a caller's type
    keys: dict[str, PyJWK] = {}
    for member in members:
        key = _usable(member)
        if key is not None:
            keys[member["kid"]] = key
    return keys


def _usable(member: Any) -> PyJWK | None:
    from jwt import PyJWK
    from jwt.exceptions import PyJWTError

    if not isinstance(member, dict) or not isinstance(member.get("kid"), str):
        return None
    algorithm = _ALGORITHMS.get(f"{member.get('kty')} {member.get('crv', '')}".strip())
    if algorithm is None or member.get("use", "sig") != "sig" or member.get("alg", algorithm) != algorithm:
        return None
    public = {name: value for name, value in member.items() if name not in _PRIVATE_MEMBERS}
    try:
        key = PyJWK(public, algorithm)
    except (PyJWTError, ValueError, TypeError):
        log.warning("a key of the issuer cannot be read and is ignored")
        return None
    if algorithm == "RS256" and key.key.key_size < MIN_RSA_BITS:
        log.warning("an RSA key of the issuer is shorter than %d bits and is ignored", MIN_RSA_BITS)
        return None
    return key


_ALGORITHMS: Final = {"RSA": "RS256", "EC P-256": "ES256"}
_PRIVATE_MEMBERS: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth"})


class StaticKeys:
    """Keys that are known in this process: those of the local issuer, or of a test."""

    def __init__(self, jwks: Mapping[str, Any]) -> None:
        self._jwks = dict(jwks)
        self._keys: dict[str, PyJWK] | None = None

    async def key(self, kid: str) -> PyJWK | None:
        """Return the key with this id, or None when there is none."""
        if self._keys is None:
            self._keys = read_jwks(self._jwks)
        return self._keys.get(kid)

    def replace(self, jwks: Mapping[str, Any]) -> None:
        """Replace the keys, after the issuer has rotated them."""
        self._jwks = dict(jwks)
        self._keys = None


async def fetch_over_http(url: str) -> bytes:
    """Return the content of a URL over HTTP, without redirects and bounded in time and size. Raises OSError."""
    import httpx

    content = bytearray()
    try:
        async with (
            httpx.AsyncClient(timeout=FETCH_TIMEOUT_SECONDS, follow_redirects=False) as client,
            client.stream("GET", url, headers={"Accept": "application/json"}) as response,
        ):
            if response.status_code != httpx.codes.OK:
                raise OSError(f"{url} answered {response.status_code}")
            async for chunk in response.aiter_bytes():
                content += chunk
                if len(content) > MAX_JWKS_BYTES:
                    raise OSError(f"{url} answered more than {MAX_JWKS_BYTES} bytes")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise OSError(f"{url} cannot be read: {type(error).__name__}") from error
    return bytes(content)


class JwksClient:
    """An issuer's keys, found by OpenID Connect discovery and cached by id.

    The key set is read again when it is older than `max_age`. For an unknown id it is read at most once per
    `cooldown`, so that tokens with forged ids cannot cause load at the issuer. While the issuer cannot be reached,
    the known keys stay in use for at most `max_stale`.
    """

    def __init__(
        self,
        issuer: str,
        clock: Clock,
        fetch: Fetch = fetch_over_http,
        *,
        cooldown: timedelta = timedelta(seconds=10),
        retry: timedelta = timedelta(seconds=1),
        max_age: timedelta = timedelta(hours=1),
        max_stale: timedelta = timedelta(hours=24),
    ) -> None:
        self._issuer = issuer
        self._clock = clock
        self._fetch = fetch
        self._cooldown = cooldown
        self._retry = retry
        self._max_age = max_age
        self._max_stale = max_stale
        self._keys: dict[str, PyJWK] = {}
        self._read_at: float | None = None
        self._next_attempt = 0.0
        self._failed = False
        self._lock = asyncio.Lock()

    async def key(self, kid: str) -> PyJWK | None:
        """Return the key with this id, or None when the issuer has none.

        Raises Problem `dependency_unavailable` when the issuer cannot be read and the key is not known.
        """
        now = self._clock.monotonic()
        known = self._keys.get(kid)
        # A request with a known key does not wait for the one request that reads the set again.
        if known is not None and (self._fresh(now) or (self._lock.locked() and self._bearable(now))):
            return known
        async with self._lock:
            now = self._clock.monotonic()
            if now >= self._next_attempt and (kid not in self._keys or not self._fresh(now)):
                await self._read_again()
        known = self._keys.get(kid)
        if known is not None and self._bearable(self._clock.monotonic()):
            return known
        if self._failed:
            raise Problem("dependency_unavailable", "The identity provider's keys cannot be read now.")
        return None

    def _fresh(self, now: float) -> bool:
        return self._read_at is not None and now - self._read_at < self._max_age.total_seconds()

    def _bearable(self, now: float) -> bool:
        return self._read_at is not None and now - self._read_at < self._max_stale.total_seconds()

    async def _read_again(self) -> None:
        try:
            keys = await self._published_keys()
        except (OSError, ValueError) as error:
            self._failed = True
            self._next_attempt = self._clock.monotonic() + self._retry.total_seconds()
            log.warning("the keys of %s cannot be read: %s", self._issuer, error)
        else:
            self._failed = False
            self._keys = keys
            self._read_at = self._clock.monotonic()
            self._next_attempt = self._read_at + self._cooldown.total_seconds()

    async def _published_keys(self) -> dict[str, PyJWK]:
        configuration = orjson.loads(await self._fetch(f"{self._issuer.rstrip('/')}/.well-known/openid-configuration"))
        if not isinstance(configuration, dict) or configuration.get("issuer") != self._issuer:
            raise ValueError("the discovery document belongs to another issuer")
        url = configuration.get("jwks_uri")
        if not isinstance(url, str):
            raise ValueError("the discovery document names no jwks_uri")  # noqa: TRY004 - the document is wrong
        return read_jwks(orjson.loads(await self._fetch(url)))


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
    scope = claims.get("scope", "")
    if not isinstance(scope, str):
        _refuse("The token's scope is not text.")
    tenant_id = _optional_text(claims, "tenant_id")
    user_id = _optional_text(claims, "user_id")
    if user_id is not None and tenant_id is None:
        _refuse("The token has a user but no tenant.")
    return Caller(
        subject=_text(claims, "sub"),
        client_id=_text(claims, "azp"),
        tenant_id=tenant_id,
        scopes=frozenset(scope.split()),
        user_id=user_id,
    )


def _optional_text(claims: Mapping[str, Any], name: str) -> str | None:
    return _text(claims, name) if name in claims else None


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not value:
        _refuse(f"The token's {name} is not one text.")
    return value


def _refuse(detail: str) -> NoReturn:
    raise Problem("invalid_token", detail)
