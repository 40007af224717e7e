"""The HTTP client for webhooks: it connects only to addresses that it has checked.

The host name is resolved for each request, all its addresses are checked, and the connection goes to one of these
addresses. The name is not resolved a second time, so an answer of DNS that changes in between (DNS rebinding) has no
effect. The certificate is verified for the host name.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from shared.adapters.outgoing.addresses import is_local_name, is_public
from shared.core.settings import Settings
from shared.ports.lifecycle import CLOSE_SECONDS, Adapter
from shared.ports.outgoing import OutgoingAnswer, OutgoingDocument, OutgoingError

if TYPE_CHECKING:
    import httpcore

MAX_RESPONSE_BYTES: Final = 64 * 1024
"""The most bytes of a response's content that are read. The rest of the response to a POST does not matter."""
_ATTEMPT_THREADS: Final = 512
"""Threads are created when all others look a name up. The attempts of a process are fewer."""
_CHECK_THREADS: Final = 16
_RESOLVE_SECONDS: Final = 5.0
_REDIRECTS: Final = range(300, 400)
_THIS_MACHINE: Final = frozenset({"127.0.0.1", "::1", "localhost"})

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Called with a host name and a port; returns numeric addresses. Raises OSError when there are none."""


class _AddressRefused(Exception):
    """The host is, or resolves to, an address that is not public."""


class _NotResolved(Exception):
    """The host name has no address."""


class _Resolver:
    """Looks names up with the operating system's resolver, in threads of its own.

    A look-up cannot be interrupted, and may take longer than the request that needs it. So there is one at a time for
    each name: the requests to one slow name occupy one thread, however many they are.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._pool: ThreadPoolExecutor | None = None
        self._running: dict[tuple[str, int], asyncio.Future[Sequence[str]]] = {}

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        """Return the addresses of a host. Raises OSError, also when too many names are being looked up."""
        key = (host, port)
        known = self._running.get(key)
        if known is None:
            if len(self._running) >= 2 * self._threads:
                raise OSError("too many names are being looked up")
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._threads, "resolver")
            known = asyncio.wrap_future(self._pool.submit(_look_up, host, port))
            self._running[key] = known
            known.add_done_callback(partial(self._ended, key))
        # The end of one request does not end the look-up, on which others may wait.
        return await asyncio.shield(known)

    def close(self) -> None:
        """Begin no further look-up."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _ended(self, key: tuple[str, int], future: asyncio.Future[Sequence[str]]) -> None:
        del self._running[key]
        if not future.cancelled():
            # Python warns of an exception that is not read, and the request may be over.
            future.exception()


def _look_up(host: str, port: int) -> Sequence[str]:
    entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in entries))


class HttpOutgoing(Adapter):
    """Sends requests to URLs that tenants have chosen. See shared.ports.outgoing.Outgoing.

    `resolve` replaces the resolver of the operating system. Each request has a connection of its own, which is closed
    after the response.
    """

    adapter_name = "client for webhooks"

    def __init__(self, settings: Settings, resolve: Resolve | None = None) -> None:
        self._private_allowed = settings.webhooks_allow_private == 1
        self._seconds = settings.webhooks_seconds
        # Apart, so that new endpoints with names that are slow to look up occupy no thread of the attempts.
        self._resolvers = _Resolver(_ATTEMPT_THREADS), _Resolver(_CHECK_THREADS)
        self._resolve, self._resolve_to_check = (resolve, resolve) if resolve is not None else self._resolvers
        self._tls: ssl.SSLContext | None = None

    async def refusal(self, url: str) -> str | None:
        self.require_open()
        parts = urlsplit(url)
        host = parts.hostname or ""
        if self._private_allowed:
            return None
        if parts.scheme != "https":
            return "The URL must begin with https://."
        if is_local_name(host):
            return f"{host} is a name of a private network. Use a public address."
        try:
            async with asyncio.timeout(_RESOLVE_SECONDS):
                await self._addresses(host, parts.port or 443, self._resolve_to_check)
        except _AddressRefused:
            return f"{host} is, or resolves to, an address that is not public. Use a public address."
        except (_NotResolved, TimeoutError):
            return None
        return None

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> OutgoingAnswer:
        started = perf_counter()
        found = await self._request("POST", url, headers, body)
        return OutgoingAnswer(found.status_code, found.error, round((perf_counter() - started) * 1000))

    async def get(self, url: str, headers: Mapping[str, str]) -> OutgoingDocument:
        found = await self._request("GET", url, headers, b"")
        if found.error is None and len(found.content) > MAX_RESPONSE_BYTES:
            return OutgoingDocument(found.status_code, "invalid_response", b"")
        return found

    def url_of(self, location: str) -> str:
        host = urlsplit(f"//{location}").hostname or ""
        return f"{'http' if self._private_allowed and host in _THIS_MACHINE else 'https'}://{location}"

    async def _request(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> OutgoingDocument:
        self.require_open()
        status: int | None = None
        content = b""
        error: OutgoingError | None = None
        try:
            async with asyncio.timeout(self._seconds):
                status, content = await self._exchange(method, url, headers, body)
        except TimeoutError:
            error = "timeout"
        except _AddressRefused:
            error = "address_refused"
        except _NotResolved:
            error = "name_not_resolved"
        except Exception as failure:  # noqa: BLE001 - whatever the receiver does is the outcome of the attempt
            error = _error_of(failure)
        if status is not None and status in _REDIRECTS:
            error = "redirect_refused"
        return OutgoingDocument(status, error, content)

    async def aclose(self, seconds: float = CLOSE_SECONDS) -> None:
        await super().aclose(seconds)
        for resolver in self._resolvers:
            resolver.close()

    async def _exchange(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        """Send the request. Return the status of the response, and its content as far as it is read: a little more than
        MAX_RESPONSE_BYTES at most."""
        import httpcore

        secure = urlsplit(url).scheme == "https"
        # The library sends the headers as they are, and adds only those that HTTP/1.1 requires.
        sent = [(name.encode(), value.encode()) for name, value in headers.items()]
        async with (
            httpcore.AsyncConnectionPool(
                ssl_context=self._tls_context() if secure else None,
                max_connections=1,
                max_keepalive_connections=0,
                network_backend=_backend(partial(self._addresses, resolve=self._resolve)),
            ) as pool,
            pool.stream(method, url, headers=sent, content=body) as response,
        ):
            content = b""
            async for chunk in response.aiter_stream():
                content += chunk
                if len(content) > MAX_RESPONSE_BYTES:
                    break
            return response.status, content

    def _tls_context(self) -> ssl.SSLContext:
        if self._tls is None:
            import httpx

            # The authorities are those of certifi, or of SSL_CERT_FILE.
            self._tls = httpx.create_ssl_context()
        return self._tls

    async def _addresses(self, host: str, port: int, resolve: Resolve) -> Sequence[str]:
        """Return the addresses of a host. Raises _AddressRefused unless all are public, and _NotResolved."""
        if not self._private_allowed and is_local_name(host):
            raise _AddressRefused
        try:
            found = await resolve(host, port)
        except (OSError, UnicodeError):
            raise _NotResolved from None
        if not found:
            raise _NotResolved
        if not self._private_allowed and not all(map(is_public, found)):
            raise _AddressRefused
        return found


def _backend(addresses: Resolve) -> httpcore.AsyncNetworkBackend:
    """Return the network of one request: it connects to the checked addresses of the host, one after the other."""
    import httpcore

    plain = httpcore.AnyIOBackend()

    class Checked(httpcore.AsyncNetworkBackend):
        async def connect_tcp(
            self,
            host: str,
            port: int,
            timeout: float | None = None,
            local_address: str | None = None,
            socket_options: Iterable[Any] | None = None,
        ) -> httpcore.AsyncNetworkStream:
            failure: Exception | None = None
            for address in await addresses(host, port):
                try:
                    return await plain.connect_tcp(address, port, timeout, local_address, socket_options)
                except httpcore.ConnectError as error:
                    failure = error
            raise failure or httpcore.ConnectError("the host has no address")

    return Checked()


def _error_of(failure: Exception) -> OutgoingError:
    import httpcore

    cause: BaseException | None = failure
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return "tls_failed"
        cause = cause.__cause__ or cause.__context__
    if isinstance(failure, httpcore.TimeoutException):
        return "timeout"
    if isinstance(failure, httpcore.ProtocolError):
        return "invalid_response"
    return "connection_failed"
