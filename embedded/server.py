"""Serving the platform on a socket until a signal says stop: uvicorn, with our own handling of signals.

uvicorn raises a signal that it caught once more when it is done, so that nothing after its `run` is executed; here
the platform still has to drain, and to end with exit code 0.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from embedded.gateway.gateway import Gateway
from embedded.platform.platform import Options, Platform, settle_memory
from shared.core.settings import Settings
from shared.http.messages import HttpResponse

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

log = logging.getLogger(__name__)
BACKLOG: Final = 2048
KEEP_ALIVE_SECONDS: Final = 75
ANSWER_SECONDS: Final = 4
"""How long requests under way may take to be answered once the platform stops."""
MAX_HEADER_BYTES: Final = 64 * 1024
_TOO_LARGE: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: text/plain; charset=utf-8\r\n"
    b"content-length: 33\r\nconnection: close\r\n\r\nThe request's head is too large.\r\n"
)


class AddressInUse(Exception):
    """Somebody else listens there."""


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with a bound on a request's head, which the parser itself has none for.

    What arrives is counted, and headers one by one only where that alone could be too much.
    """

    _in_head = False
    _arrived = 0
    _chunk = 0

    def on_message_begin(self) -> None:
        self._in_head = True
        # How much of this chunk was the message before is not known; what comes with later chunks is all head.
        self._arrived = -self._chunk
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        if self._arrived + 2 * self._chunk > MAX_HEADER_BYTES:
            size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
            if size > MAX_HEADER_BYTES:
                self._refuse_head()
                raise httptools.HttpParserError("the request's head is too large")
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        self._chunk = len(data)
        super().data_received(data)
        if self._in_head:
            self._arrived += len(data)
            if self._arrived > MAX_HEADER_BYTES:
                self._refuse_head()

    def _refuse_head(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(_TOO_LARGE)
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        if self.transport.is_closing():
            return
        if isinstance(self.config.app, Gateway):
            self.transport.write(_as_bytes(self.config.app.unreadable()))
            self.transport.close()
        else:
            super().send_400_response(msg)


def _as_bytes(response: HttpResponse) -> bytes:
    """A 400 as it goes over the wire; it is the connection's last."""
    headers = {**response.headers, "content-length": str(len(response.body)), "connection": "close"}
    lines = ["HTTP/1.1 400 Bad Request", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + response.body


class _Server(uvicorn.Server):
    """Leaves signals to us."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Connections wait in its backlog until the platform serves. Raises AddressInUse."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise AddressInUse(f"cannot listen on {host} port {port}: {_reason(error)}") from None


def _reason(error: OSError) -> str:
    # The socket module puts words of its own behind the system's.
    return str(error.strerror).partition(" (while ")[0]


def url_of(listening: socket.socket) -> str:
    """The address by which this machine reaches a listening socket."""
    host, port = listening.getsockname()[:2]
    if host in ("0.0.0.0", "::"):  # noqa: S104 - it is compared, not bound
        host = "127.0.0.1" if host == "0.0.0.0" else "::1"  # noqa: S104 - as above
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def run(settings: Settings, options: Options, listening: socket.socket, ready: Callable[[Platform], Any]) -> None:
    """Serve until SIGINT or SIGTERM. `ready` is called once, when the platform answers.

    Raises what Platform.start raises.
    """
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(settings, options, listening, ready))


def _loop_factory() -> Callable[[], AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # no wheel for this platform; asyncio's own loop does
        return None
    factory: Callable[[], AbstractEventLoop] = uvloop.new_event_loop
    return factory


async def _serve(
    settings: Settings, options: Options, listening: socket.socket, ready: Callable[[Platform], Any]
) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    starting = asyncio.ensure_future(Platform.start(settings, options))
    stopped = asyncio.ensure_future(stopping.wait())
    await asyncio.wait((starting, stopped), return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        # Whatever the start waits for (a writer that hangs, a directory in use), the process ends.
        starting.cancel()
    try:
        platform = await starting
    except asyncio.CancelledError:
        log.warning("stopped before the platform had started")
        listening.close()
        return
    try:
        settle_memory()
        if not stopping.is_set():
            await _answer_requests(platform, listening, stopped, ready)
    finally:
        stopped.cancel()
        listening.close()
        await platform.stop()


async def _answer_requests(
    platform: Platform, listening: socket.socket, stopped: asyncio.Future[Any], ready: Callable[[Platform], Any]
) -> None:
    config = uvicorn.Config(
        platform.gateway,
        http=BoundedProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=ANSWER_SECONDS,
    )
    server = _Server(config)
    serving = asyncio.ensure_future(server.serve(sockets=[listening]))
    ready(platform)
    await asyncio.wait((serving, stopped), return_when=asyncio.FIRST_COMPLETED)
    log.info("stopping: what is under way is finished first")
    server.should_exit = True
    await serving
