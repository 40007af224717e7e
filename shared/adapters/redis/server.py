"""A Redis server and its ports."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Coroutine
from contextlib import AsyncExitStack
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, TypeVar

from shared.adapters.redis.address import Address, read_address
from shared.adapters.redis.cache import RedisCache
from shared.adapters.redis.nonces import RedisNonces
from shared.adapters.redis.rate_limits import RedisRateLimits
from shared.core.clock import Clock
from shared.core.settings import Settings
from shared.ports.documents import Unavailable
from shared.ports.lifecycle import Adapter, AdapterOptions, NotOpened, retry_at_start

if TYPE_CHECKING:
    from redis.asyncio import Redis

T = TypeVar("T")
_HEALTH_SECONDS: Final = 30
_RETRIES: Final = 1
_BACKOFF_SECONDS: Final = 0.01
_BACKOFF_LIMIT_SECONDS: Final = 0.2


class RedisServer(Adapter):
    """A Redis server, or the one that Sentinels name, with the ports of cache, nonces and rate limits.

    It may lose everything at any moment: a restart or a failover costs time and changes no result. A server that does
    not answer is therefore no trouble (`Adapter.trouble`): the platform is slower and still serves.
    """

    adapter_name = "cache"

    def __init__(self, address: Address, settings: Settings, clock: Clock, *, waits: bool = True) -> None:
        self._address = address
        self._settings = settings
        self._waits = waits
        self._client: Redis | None = None
        # The driver's pool refuses a command when all connections are in use; here it waits for one.
        self._connections = asyncio.Semaphore(settings.cache_connections)
        # The monotonic time until which no command is sent, because the last one got no response.
        self._resting_until = 0.0
        self._failure: str | None = None
        self.cache = RedisCache(self, address.namespace)
        self.nonces = RedisNonces(self, address.namespace, clock)
        self.rate_limits = RedisRateLimits(self, address.namespace)

    @property
    def client(self) -> Redis:
        """The driver's client.

        Raises Closed after the adapter was closed, and Unavailable for `cache_seconds` after a command without a
        response: a blocked server then causes one wait in that time, and not one for each command.
        """
        self.require_open()
        if monotonic() < self._resting_until:
            raise Unavailable(f"Redis at {self._address.shown} did not answer a moment ago")
        assert self._client is not None, "the adapter is opened before its ports are used"
        return self._client

    async def result(self, answer: Awaitable[T]) -> T:
        """Return the server's response. Raises Unavailable when it does not answer, or refuses."""
        from redis.exceptions import RedisError, ResponseError

        try:
            await self._wait_for_connection(answer)
            try:
                found = await answer
            finally:
                self._connections.release()
        except (RedisError, OSError) as error:
            if not isinstance(error, ResponseError):
                self._resting_until = monotonic() + self._settings.cache_seconds
                self._failure = _text_of(error)
            raise Unavailable(f"Redis at {self._address.shown}: {_text_of(error)}") from error
        self._failure = None
        return found

    def impairment(self) -> str | None:
        """Return that the server did not answer the last command, or None."""
        if self._failure is None:
            return None
        return f"Redis at {self._address.shown}: {self._failure}. Locks and rate limits hold for each process by itself"

    async def _wait_for_connection(self, answer: Awaitable[Any]) -> None:
        """Wait until a command may use a connection, at most `cache_seconds`. Raises TimeoutError."""
        if not self._connections.locked():
            await self._connections.acquire()
            return
        try:
            async with asyncio.timeout(self._settings.cache_seconds):
                await self._connections.acquire()
        except BaseException:
            # The command is never sent.
            if isinstance(answer, Coroutine):
                answer.close()
            raise

    async def _open(self, closing: AsyncExitStack) -> None:
        self._client = _client(self._address, self._settings, closing)
        client = self._client
        seconds = self._settings.start_seconds if self._waits else 0
        await retry_at_start(lambda: self.result(client.ping()), "LASTRO_CACHE", seconds)
        self._resting_until = 0.0


def _client(address: Address, settings: Settings, closing: AsyncExitStack) -> Redis:
    from redis.asyncio import ConnectionPool, Redis, Sentinel
    from redis.asyncio.connection import Connection, SSLConnection
    from redis.asyncio.retry import Retry
    from redis.backoff import ExponentialWithJitterBackoff

    options: dict[str, Any] = {
        "db": address.database,
        "username": address.username,
        "password": address.password,
        "socket_timeout": settings.cache_seconds,
        "socket_connect_timeout": settings.cache_seconds,
        "socket_keepalive": True,
        "health_check_interval": _HEALTH_SECONDS,
        "retry": Retry(ExponentialWithJitterBackoff(_BACKOFF_LIMIT_SECONDS, _BACKOFF_SECONDS), _RETRIES),
        "max_connections": settings.cache_connections,
    }
    tls = _tls_options(address)
    if address.master is not None:
        sentinel = Sentinel(  # type: ignore[no-untyped-call]  # the driver has types, but not here
            address.hosts,
            sentinel_kwargs={
                "password": address.sentinel_password,
                "socket_timeout": settings.cache_seconds,
                "socket_connect_timeout": settings.cache_seconds,
                "ssl": address.tls,
                **tls,
            },
        )
        for each in sentinel.sentinels:
            closing.push_async_callback(each.aclose)
        client: Redis = sentinel.master_for(address.master, ssl=address.tls, **options, **tls)
    else:
        (host, port) = address.hosts[0]
        pool = ConnectionPool(
            host=host, port=port, connection_class=SSLConnection if address.tls else Connection, **options, **tls
        )
        client = Redis.from_pool(pool)
    closing.push_async_callback(client.aclose)
    return client


def _tls_options(address: Address) -> dict[str, Any]:
    """Raises NotOpened when the file of authorities cannot be read."""
    if not address.tls:
        return {}
    if address.ca is not None:
        try:
            ssl.create_default_context(cafile=address.ca)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise NotOpened(f"LASTRO_CACHE: the certificates in {address.ca} cannot be read: {reason}") from None
    # Versions of the driver before 6 do not check the name by default.
    checked = {"ssl_cert_reqs": "required", "ssl_check_hostname": True}
    return checked if address.ca is None else {**checked, "ssl_ca_certs": address.ca}


def _text_of(error: Exception) -> str:
    return str(error).partition("\n")[0].rstrip(".") or type(error).__name__


def redis_server(options: AdapterOptions) -> RedisServer:
    """Return the adapter of a URL (shared.adapters.redis.address). Raises InvalidSettings."""
    return RedisServer(read_address(options.url), options.settings, options.clock, waits=options.waits)
