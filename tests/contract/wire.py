"""HTTP as it goes over the wire: bytes out, bytes in, nothing normalised on the way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import uvicorn

from embedded.server import BoundedProtocol

Headers = Iterable[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, its headers in lower case and in the order in which they came."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """A header's value; None when it is absent. Fails when it came twice."""
        found = [value for header, value in self.headers if header == name]
        assert len(found) < 2, f"{name} came {len(found)} times"
        return found[0] if found else None

    @property
    def document(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def code(self) -> str | None:
        """The code of a problem; None for an answer that is none."""
        if self.header("content-type") != "application/problem+json":
            return None
        code: str = self.document["code"]
        return code

    @property
    def pointers(self) -> list[str]:
        """The places of the body that a problem points at."""
        return [error["pointer"] for error in self.document["errors"] if "pointer" in error]

    @property
    def parameters(self) -> list[str]:
        """The query parameters that a problem names."""
        return [error["parameter"] for error in self.document["errors"] if "parameter" in error]


class Wire:
    """Sends requests to an address, each on a connection of its own."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port

    async def send(self, method: str, target: str, headers: Headers = (), body: bytes = b"") -> Answer:
        """One request, target and headers byte for byte as given (latin-1)."""
        lines = [f"{method} {target} HTTP/1.1", f"host: {self.host}:{self.port}", "connection: close"]
        given = tuple(headers)
        lines += [f"{name}: {value}" for name, value in given]
        if body and not any(name in ("content-length", "transfer-encoding") for name, _ in given):
            lines.append(f"content-length: {len(body)}")
        head = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
        return await self.raw(head + body)

    async def raw(self, message: bytes) -> Answer:
        """One message as it is; the answer ends with the connection."""
        reader, writer = await asyncio.open_connection(self.host, self.port)
        received = b""
        try:
            # A server that refuses a large body hangs up without reading it all.
            with suppress(ConnectionError):
                writer.write(message)
                await writer.drain()
            with suppress(ConnectionError):
                while chunk := await reader.read(65536):
                    received += chunk
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
        return _parsed(received)


def _parsed(received: bytes) -> Answer:
    head, separator, body = received.partition(b"\r\n\r\n")
    assert separator, f"no whole answer came: {received!r}"
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = tuple((name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines))
    return Answer(int(first.split(" ")[1]), headers, body)


class _Server(uvicorn.Server):
    """A server that leaves the signals to the test run."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def served(app: Any) -> AsyncIterator[Wire]:
    """An ASGI application on a free port of this machine, served as `lastro up` serves it."""
    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=0,
        http=BoundedProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        assert not task.done(), "the server did not start"
        await asyncio.sleep(0.005)
    try:
        yield Wire("127.0.0.1", server.servers[0].sockets[0].getsockname()[1])
    finally:
        server.should_exit = True
        await task
