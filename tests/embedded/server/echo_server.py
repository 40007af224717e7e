"""A server with a simple application, and clients that send bytes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from embedded.server.listening import listen
from embedded.server.serving import Server
from shared.core.problems import Problem
from shared.core.settings import Settings
from shared.http.messages import HttpRequest, HttpResponse
from tests.waiting import PATIENCE_SECONDS

HELD = b"GET /held HTTP/1.1\r\nHost: a\r\n\r\n"
GET = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
CLOSE = b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


class Echo:
    """Answers a request with its path as the body, /held only when it is released, and a refusal with its code."""

    def __init__(self) -> None:
        self.seen: list[HttpRequest] = []
        self.released = asyncio.Event()
        self.response: Callable[[HttpRequest], HttpResponse] = lambda request: HttpResponse(
            200, {}, request.path.encode()
        )

    @property
    def paths(self) -> list[str]:
        """The paths of the received requests, in their order."""
        return [request.path for request in self.seen]

    async def answer(self, request: HttpRequest) -> HttpResponse:
        self.seen.append(request)
        if request.path == "/held":
            await self.released.wait()
        return self.response(request)

    def refuse(self, request: HttpRequest, problem: Problem) -> HttpResponse:
        del request
        return HttpResponse(problem.status, {"x-detail": problem.detail}, problem.code.encode())


@dataclass(slots=True)
class Client:
    """A connection to the server."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, *pieces: bytes) -> None:
        """Send bytes. No error is raised when the server does not read them all."""
        for piece in pieces:
            with suppress(ConnectionError):
                self.writer.write(piece)
                await self.writer.drain()

    async def answer(self) -> tuple[int, bytes]:
        """Return the status and body of the next response."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = next(
            (int(line.partition(b":")[2]) for line in head.split(b"\r\n") if line.startswith(b"content-length:")), 0
        )
        return int(head[9:12]), await self.reader.readexactly(length)

    async def rest(self) -> bytes:
        """Return all bytes until the server closes the connection."""
        return await self.reader.read()

    async def close(self) -> None:
        self.writer.close()
        with suppress(ConnectionError):
            await self.writer.wait_closed()


@dataclass(slots=True)
class RunningServer:
    """A server on a free port, with its application and its clients."""

    server: Server
    echo: Echo
    port: int
    clients: list[Client] = field(default_factory=list)

    async def connect(self) -> Client:
        """Open a connection and wait until the server has accepted it."""
        known = set(self.server.connections.open)
        client = Client(*await asyncio.open_connection("127.0.0.1", self.port, limit=2**24))
        self.clients.append(client)
        await eventually(lambda: bool(self.server.connections.open - known))
        return client

    async def exchange(self, *pieces: bytes) -> bytes:
        """Send bytes on a new connection, and return all bytes until the server closes it."""
        client = await self.connect()
        await client.send(*pieces)
        return await client.rest()

    def pass_seconds(self, seconds: int) -> None:
        """Let seconds pass on the server's clock."""
        for _ in range(seconds):
            self.server.connections.tick()


async def eventually(met: Callable[[], bool]) -> None:
    """Wait until a condition is met. The timeout of the test bounds the wait."""
    while not met():  # noqa: ASYNC110 - the server has no event for the condition
        await asyncio.sleep(0.001)


async def promptly(awaited: Awaitable[bytes]) -> bytes:
    """Await a result that must arrive without further action. Fails after PATIENCE_SECONDS."""
    return await asyncio.wait_for(awaited, PATIENCE_SECONDS)


@asynccontextmanager
async def serving(settings: Settings | None = None, *, limit: int = 100) -> AsyncIterator[RunningServer]:
    """Start a server and stop it at the end. Its clock moves only with `pass_seconds`."""
    echo = Echo()
    listening = listen("127.0.0.1", 0)
    server = Server(echo, settings or Settings(), listening, limit)
    served = RunningServer(server, echo, listening.getsockname()[1])
    accepting = server.start()
    assert server._ticking is not None
    server._ticking.cancel()  # the test moves the clock
    try:
        yield served
    finally:
        echo.released.set()
        for client in served.clients:
            await client.close()
        if listening.fileno() != -1:
            await server.stop(seconds=60)
        assert accepting.cancelled()
