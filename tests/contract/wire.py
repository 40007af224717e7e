"""HTTP as bytes: requests are sent and answers are read without normalisation."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from embedded.server.listening import listen
from embedded.server.protocol import Application
from embedded.server.serving import Server
from shared.core.settings import Settings

Headers = Iterable[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, with its headers in lower case and in their order."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """Return a header's value, or None. Fails when the header is repeated."""
        found = [value for header, value in self.headers if header == name]
        assert len(found) < 2, f"{name} came {len(found)} times"
        return found[0] if found else None

    @property
    def document(self) -> Any:
        """Return the body as JSON."""
        return json.loads(self.body)

    @property
    def code(self) -> str | None:
        """Return the code of a problem, or None for another answer."""
        if self.header("content-type") != "application/problem+json":
            return None
        code: str = self.document["code"]
        return code

    @property
    def pointers(self) -> list[str]:
        """Return the JSON pointers of a problem."""
        return [error["pointer"] for error in self.document["errors"] if "pointer" in error]

    @property
    def parameters(self) -> list[str]:
        """Return the query parameters of a problem."""
        return [error["parameter"] for error in self.document["errors"] if "parameter" in error]


class Wire:
    """Sends requests to an address, each on a new connection."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port

    async def send(self, method: str, target: str, headers: Headers = (), body: bytes = b"") -> Answer:
        """Send a request with target and headers byte for byte as given (latin-1)."""
        lines = [f"{method} {target} HTTP/1.1", f"host: {self.host}:{self.port}", "connection: close"]
        given = tuple(headers)
        lines += [f"{name}: {value}" for name, value in given]
        if body and not any(name in ("content-length", "transfer-encoding") for name, _ in given):
            lines.append(f"content-length: {len(body)}")
        head = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
        return await self.raw(head + body)

    async def raw(self, *pieces: bytes) -> Answer:
        """Send these bytes unchanged, each piece after the previous one, and return the response. The connection is
        closed after it."""
        reader, writer = await asyncio.open_connection(self.host, self.port)
        received = b""
        try:
            # A server that refuses a large body closes the connection without reading all of it.
            with suppress(ConnectionError):
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)
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


@asynccontextmanager
async def served(application: Application, settings: Settings | None = None) -> AsyncIterator[Wire]:
    """Serve an application on a free port of this machine, as `lastro up` does."""
    settings = settings or Settings()
    listening = listen("127.0.0.1", 0)
    server = Server(application, settings, listening, settings.max_connections)
    accepting = server.start()
    try:
        yield Wire(*listening.getsockname())
    finally:
        await server.stop(seconds=10)
        assert accepting.cancelled(), accepting
