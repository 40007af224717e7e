"""An issuer's public keys: read from its web server by discovery, or known in this process.

PyJWT and httpx are imported at first use, so that functions without tokens do not load them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import orjson

from shared.core.clock import Clock, format_time
from shared.core.problems import Problem

if TYPE_CHECKING:
    from jwt import PyJWK

log = logging.getLogger(__name__)

MAX_JWKS_BYTES: Final = 256 * 1024
MIN_RSA_BITS: Final = 2048
FETCH_TIMEOUT_SECONDS: Final = 5.0
DISCOVERY_PATH: Final = "/.well-known/openid-configuration"
"""The path of the discovery document, relative to the issuer's URL (OpenID Connect Discovery 1.0 §4)."""
_PROBE_SECONDS: Final = 0.5
_MAX_SHOWN: Final = 200

Fetch = Callable[[str], Awaitable[bytes]]
"""Return the content of a URL. Raises OSError or ValueError."""

Count = Callable[[str, str], None]
"""Increases the counter of a name and a label by one."""


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


def _count_nothing(_name: str, _label: str) -> None:
    """Count nothing: the default of a key source without metrics."""


class JwksClient:
    """An issuer's keys, found by OpenID Connect discovery and cached by id.

    A request whose key is known does not wait: when the key set is older than `max_age`, it starts to read the set
    again in the background. Only after `max_unread`, in a process that was idle, the first request waits for that, so
    that a withdrawn key is not used.

    A request with an unknown key id waits for one read, which all such requests share. After that, unknown ids cause no
    other read for `cooldown`, so that tokens with forged ids cannot cause load at the issuer.

    While the issuer cannot be reached, it is tried again at most once per `retry`, and the known keys stay in use for
    at most `max_stale` after they were read.
    """

    def __init__(
        self,
        issuer: str,
        clock: Clock,
        fetch: Fetch = fetch_over_http,
        *,
        cooldown: timedelta = timedelta(seconds=10),
        retry: timedelta = timedelta(seconds=1),
        max_age: timedelta = timedelta(minutes=5),
        max_unread: timedelta = timedelta(hours=1),
        max_stale: timedelta = timedelta(hours=24),
        count: Count = _count_nothing,
    ) -> None:
        """`count` counts the reads (`identity_key_reads`, with `read` or `failed`) and the uses of keys that are older
        than `max_age` while the issuer cannot be reached (`identity_stale_keys_used`)."""
        self._issuer = issuer
        self._clock = clock
        self._fetch = fetch
        self._cooldown = cooldown.total_seconds()
        self._retry = retry.total_seconds()
        self._max_age = max_age.total_seconds()
        self._max_unread = max_unread.total_seconds()
        self._max_stale = max_stale.total_seconds()
        self._count = count
        self._keys: dict[str, PyJWK] = {}
        self._read_at: float | None = None
        self._retry_at = 0.0
        self._search_at = 0.0
        """When an unknown id may cause a read again, on the monotonic clock."""
        self._probed_at: float | None = None
        self._failure: str | None = None
        self._failed_since = ""
        self._reading: asyncio.Task[None] | None = None
        self.token_endpoint = ""
        """The URL of the token endpoint in the discovery document; empty until that was read."""

    async def key(self, kid: str) -> PyJWK | None:
        """Return the key with this id, or None when the issuer has none.

        Raises Problem `dependency_unavailable` when the issuer cannot be read and the key is not known.
        """
        known = self._keys.get(kid)
        if known is not None and self._is_younger_than(self._max_stale):
            reading = self._keep_fresh()
            if reading is None:
                return known
            await asyncio.wait((reading,))
        else:
            await self._search()
        known = self._keys.get(kid)
        if known is not None and self._is_younger_than(self._max_stale):
            return known
        if self._failure is not None:
            raise Problem("dependency_unavailable", "The identity provider's keys cannot be read now.")
        return None

    def _age(self) -> float | None:
        """Return the age of the key set in seconds, or None before the first one was read."""
        return None if self._read_at is None else self._clock.monotonic() - self._read_at

    def _is_younger_than(self, seconds: float) -> bool:
        age = self._age()
        return age is not None and age < seconds

    def _keep_fresh(self) -> asyncio.Task[None] | None:
        """Begin to read an old key set again. Return the read if the request should wait for it."""
        if self._is_younger_than(self._max_age):
            return None
        if self._failure is not None:
            self._count("identity_stale_keys_used", "")
        was_reading = self._reading is not None
        reading = self._begin()
        waits = not was_reading and self._failure is None and not self._is_younger_than(self._max_unread)
        return reading if waits else None

    async def _search(self) -> None:
        """Read the key set for a key that is not known or too old, unless that was done a moment ago."""
        reading = self._reading
        if reading is None:
            now, usable = self._clock.monotonic(), self._is_younger_than(self._max_stale)
            if usable and self._failure is None and now < self._search_at:
                return
            reading = self._begin()
            if usable and reading is not None:
                self._search_at = now + self._cooldown
        if reading is not None:
            # The task is shared: cancelling one request does not stop it.
            await asyncio.wait((reading,))

    def _begin(self) -> asyncio.Task[None] | None:
        """Begin to read the key set, and return the task; None when the last attempt failed a moment ago."""
        if self._reading is None and self._clock.monotonic() >= self._retry_at:
            self._reading = asyncio.create_task(self._read())
        return self._reading

    async def _read(self) -> None:
        try:
            keys = await self._published_keys()
        except (OSError, ValueError) as error:
            self._note_failure(str(error) or type(error).__name__)
        else:
            if self._failure is not None:
                log.info("the keys of %s can be read again", self._issuer)
            self._failure = None
            self._keys = keys
            self._read_at = self._clock.monotonic()
            self._count("identity_key_reads", "read")
        finally:
            self._reading = None

    def _note_failure(self, reason: str) -> None:
        if self._failure is None:
            self._failed_since = format_time(self._clock.now())
            log.warning("the keys of %s cannot be read: %s; %s", self._issuer, reason, self._consequence())
        self._failure = reason
        self._retry_at = self._clock.monotonic() + self._retry
        self._count("identity_key_reads", "failed")

    def _consequence(self) -> str:
        age = self._age()
        if age is None or age >= self._max_stale:
            return "no token can be verified"
        return f"the known keys stay in use for another {self._max_stale - age:.0f} s"

    async def _published_keys(self) -> dict[str, PyJWK]:
        configuration = orjson.loads(await self._fetch(self._issuer.rstrip("/") + DISCOVERY_PATH))
        if not isinstance(configuration, dict):
            raise ValueError("the discovery document is not a JSON object")  # noqa: TRY004 - the document is wrong
        if configuration.get("issuer") != self._issuer:
            raise ValueError(f"the realm there says that it is {str(configuration.get('issuer'))[:_MAX_SHOWN]!r}")
        url = configuration.get("jwks_uri")
        if not isinstance(url, str):
            raise ValueError("the discovery document names no jwks_uri")  # noqa: TRY004 - the document is wrong
        keys = read_jwks(orjson.loads(await self._fetch(url)))
        if not keys:
            raise ValueError("the issuer publishes no key that can verify tokens")
        self.token_endpoint = str(configuration.get("token_endpoint", ""))
        return keys

    # For the adapter around it

    async def read_first(self) -> str | None:
        """Try to read the keys, and return the reason if that failed, or None."""
        reading = self._begin()
        if reading is not None:
            await asyncio.wait((reading,))
        return self._failure

    async def trouble(self) -> str | None:
        """Return why no token can be verified now, or None. Reads the keys again when the last probe is older than
        `cooldown`, so that an outage is noticed also when no request needs the issuer."""
        now = self._clock.monotonic()
        is_due = self._probed_at is None or now >= self._probed_at + self._cooldown
        if is_due or not self._is_younger_than(self._max_stale):
            self._probed_at = now
            reading = self._begin()
            if reading is not None:
                await asyncio.wait((reading,), timeout=_PROBE_SECONDS)
        if self._is_younger_than(self._max_stale):
            return None
        return f"the keys of {self._issuer} cannot be read: {self._failure or 'it has not answered yet'}"

    def impairment(self) -> str | None:
        """Return what does not work while known tokens can be verified, or None."""
        if self._failure is None:
            return None
        return (
            f"the keys of {self._issuer} cannot be read since {self._failed_since}: {self._failure}; "
            f"{self._consequence()}"
        )

    async def aclose(self) -> None:
        """Stop a read in progress."""
        reading = self._reading
        if reading is not None:
            reading.cancel()
            with suppress(asyncio.CancelledError):
                await reading
