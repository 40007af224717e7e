"""A load generator with little overhead: it writes and reads signed requests as bytes on keep-alive connections."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

from shared.http import signing


@dataclass(frozen=True, slots=True)
class Credentials:
    """The signing key of a tenant and its bearer token."""

    host: str
    port: int
    tenant_id: str
    key_id: str
    secret: str
    token: str


@dataclass(slots=True)
class Outcome:
    """The result of a run of requests: statuses, and the latency of each request in seconds, in the order of the
    responses."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)


def credentials_of(data_dir: Path, token: str) -> Credentials:
    """Read the credentials file of `lastro up`."""
    written = json.loads((data_dir / "credentials.json").read_text())
    url = urlsplit(written["base_url"])
    demo = written["demo"]
    assert url.hostname is not None
    assert url.port is not None
    return Credentials(url.hostname, url.port, demo["tenant_id"], demo["key_id"], demo["signing_secret"], token)


def signed_request(
    credentials: Credentials, method: str, path: str, body: bytes, key: str, *, wait_seconds: int = 0
) -> bytes:
    """Return a complete HTTP/1.1 request."""
    timestamp = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    canonical = signing.canonical_string(
        method=method,
        raw_path=path,
        raw_query="",
        body=body,
        tenant_id=credentials.tenant_id,
        idempotency_key=key,
        timestamp=timestamp,
        key_id=credentials.key_id,
    )
    head = (
        f"{method} {path} HTTP/1.1\r\nhost: {credentials.host}\r\nauthorization: Bearer {credentials.token}\r\n"
        f"idempotency-key: {key}\r\nx-timestamp: {timestamp}\r\nx-key-id: {credentials.key_id}\r\n"
        f"x-signature: {signing.sign(credentials.secret, canonical)}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n"
    )
    if wait_seconds:
        head += f"prefer: wait={wait_seconds}\r\n"
    return head.encode() + b"\r\n" + body


class Connection(asyncio.Protocol):
    """A keep-alive connection with one request at a time."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(self._buffer[:end]).lower()
        at = head.find(b"content-length:")
        length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(self._buffer) < end + 4 + length:
            return
        body = bytes(self._buffer[end + 4 : end + 4 + length])
        del self._buffer[: end + 4 + length]
        if self._answer is not None and not self._answer.done():
            self._answer.set_result((int(head[9:12]), body))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionError("the server closed the connection"))

    async def send(self, request: bytes) -> tuple[int, bytes]:
        """Send a request and return its response."""
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


async def connect(credentials: Credentials) -> Connection:
    """Open a connection."""
    loop = asyncio.get_running_loop()
    _, protocol = await loop.create_connection(Connection, credentials.host, credentials.port)
    return protocol


async def closed_loop(credentials: Credentials, requests: Iterator[bytes], connections: int) -> Outcome:
    """Send requests over `connections` connections, each as soon as the previous one is answered."""
    async with connected(credentials, connections) as opened:
        return await send_all(opened, requests)


@asynccontextmanager
async def connected(credentials: Credentials, number: int) -> AsyncIterator[list[Connection]]:
    """Open `number` connections and close them at the end of the block."""
    opened = [await connect(credentials) for _ in range(number)]
    try:
        yield opened
    finally:
        for connection in opened:
            connection.close()


async def send_all(connections: list[Connection], requests: Iterator[bytes]) -> Outcome:
    """Send each request on the first free connection, as soon as its previous request is answered."""
    outcome = Outcome()
    started = perf_counter()

    async def drive(connection: Connection) -> None:
        for request in requests:
            sent = perf_counter()
            status, _ = await connection.send(request)
            outcome.latencies.append(perf_counter() - sent)
            outcome.statuses[status] = outcome.statuses.get(status, 0) + 1

    await asyncio.gather(*(drive(connection) for connection in connections))
    outcome.seconds = perf_counter() - started
    return outcome


async def open_loop(credentials: Credentials, requests: Iterator[bytes], per_second: float) -> Outcome:
    """Send requests at a fixed rate, independent of the responses. Latency is measured from the time when each was
    due."""
    outcome = Outcome()
    free: list[Connection] = []
    running: set[asyncio.Task[None]] = set()
    started = perf_counter()

    async def one(request: bytes, due: float) -> None:
        connection = free.pop() if free else await connect(credentials)
        status, _ = await connection.send(request)
        outcome.latencies.append(perf_counter() - due)
        outcome.statuses[status] = outcome.statuses.get(status, 0) + 1
        free.append(connection)

    for position, request in enumerate(requests):
        due = started + position / per_second
        pause = due - perf_counter()
        if pause > 0:
            await asyncio.sleep(pause)
        task = asyncio.create_task(one(request, due))
        running.add(task)
        task.add_done_callback(running.discard)
    await asyncio.gather(*running)
    outcome.seconds = perf_counter() - started
    for connection in free:
        connection.close()
    return outcome


async def call(
    credentials: Credentials, method: str, path: str, body: dict[str, Any], key: str, *, wait_seconds: int = 0
) -> dict[str, Any]:
    """Send a request that prepares a measurement, and return its JSON object. Raises RuntimeError with the problem when
    it is refused."""
    connection = await connect(credentials)
    raw = json.dumps(body).encode()
    status, answer = await connection.send(
        signed_request(credentials, method, path, raw, key, wait_seconds=wait_seconds)
    )
    connection.close()
    if status >= 400:
        raise RuntimeError(f"{method} {path}: {status} {answer.decode()}")
    document: dict[str, Any] = json.loads(answer)
    return document


def percentile(values: list[float], share: float) -> float:
    """Return the value below which this share of the values lies (nearest rank); 0 without values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
