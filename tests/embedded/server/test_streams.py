"""Responses whose body is a stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress

import pytest_asyncio

from shared.core.settings import Settings
from shared.http.messages import HttpRequest, HttpResponse
from tests.embedded.server.echo_server import GET, RunningServer, eventually, promptly, serving

LARGE = b"x" * 65_536


class Source:
    """A stream of pieces that notes how many were read and whether it was closed."""

    def __init__(self, pieces: int, piece: bytes = b"abc", *, error: bool = False) -> None:
        self.given = 0
        self.closed = False
        self._pieces = pieces
        self._piece = piece
        self._error = error

    async def stream(self) -> AsyncGenerator[bytes, None]:
        try:
            while self.given < self._pieces:
                self.given += 1
                yield self._piece
                await asyncio.sleep(0)
            if self._error:
                raise RuntimeError("no more")
        finally:
            self.closed = True


@pytest_asyncio.fixture
async def served() -> AsyncIterator[RunningServer]:
    async with serving(Settings(idle_seconds=5)) as started:
        yield started


def answer_with(served: RunningServer, source: Source) -> None:
    """Answer /stream with a source, and other paths as usual."""
    usual = served.echo.response

    def response(request: HttpRequest) -> HttpResponse:
        if request.path != "/stream":
            return usual(request)
        return HttpResponse(200, {"content-type": "text/plain"}, b"", source.stream())

    served.echo.response = response


def asked(method: str = "GET", version: str = "1.1", *, last: bool = True) -> bytes:
    close = "Connection: close\r\n" if last else ""
    return f"{method} /stream HTTP/{version}\r\nHost: a\r\n{close}\r\n".encode()


async def test_a_stream_is_sent_in_chunks(served: RunningServer) -> None:
    """The body of a stream is sent in chunks with an end, without a length, and the connection serves on."""
    answer_with(served, Source(2))
    answered = await promptly(
        served.exchange(asked(last=False) + GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    )
    head, _, rest = answered.partition(b"\r\n\r\n")
    assert b"transfer-encoding: chunked" in head
    assert b"content-length" not in head
    assert rest.startswith(b"3\r\nabc\r\n3\r\nabc\r\n0\r\n\r\nHTTP/1.1 200 ")
    assert rest.endswith(b"/a")


async def test_a_client_of_http_1_0_gets_no_chunks(served: RunningServer) -> None:
    """A response to HTTP/1.0 has neither chunks nor a length: the end of the connection ends it."""
    answer_with(served, Source(2))
    head, _, body = (await promptly(served.exchange(asked(version="1.0")))).partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head
    assert b"content-length" not in head
    assert body == b"abcabc"


async def test_head_has_no_stream(served: RunningServer) -> None:
    """The response to HEAD has the headers only, and nothing is read from the stream."""
    source = Source(2)
    answer_with(served, source)
    answered = await promptly(served.exchange(asked("HEAD")))
    assert answered.endswith(b"\r\n\r\n")
    assert answered.count(b"\r\n\r\n") == 1
    assert source.given == 0


async def test_a_stream_that_fails_is_cut(served: RunningServer) -> None:
    """When a stream raises, the connection ends without the last chunk, so that the client sees a cut."""
    answer_with(served, Source(2, error=True))
    client = await served.connect()
    await client.send(asked(last=False))
    received = b""
    with suppress(ConnectionError):
        received = await promptly(client.rest())
    assert not received.endswith(b"0\r\n\r\n")
    await eventually(lambda: not served.server.connections.open)


async def test_a_stream_waits_for_its_reader(served: RunningServer) -> None:
    """While a client does not read, the stream is not read further than the buffers; when it reads, it gets all."""
    source = Source(2_000, LARGE)
    answer_with(served, source)
    client = await served.connect()
    await client.send(asked())
    await stalled(source)
    assert source.given < 2_000
    _, _, body = (await promptly(client.rest())).partition(b"\r\n\r\n")
    complete = body.count(b"x") == 2_000 * len(LARGE) and body.endswith(b"0\r\n\r\n")
    assert complete  # a comparison of these bytes would be shown in full
    assert source.closed


async def stalled(source: Source) -> None:
    """Wait until the stream is not read any more."""
    given = -1
    while source.given != given:
        given = source.given
        await asyncio.sleep(0.05)


async def test_a_client_that_does_not_read_is_disconnected(served: RunningServer) -> None:
    """A client that reads nothing for `idle_seconds` is disconnected and its stream is closed."""
    source = Source(2_000, LARGE)
    answer_with(served, source)
    client = await served.connect()
    await client.send(asked())
    await stalled(source)
    assert not source.closed
    served.pass_seconds(7)
    await eventually(lambda: source.closed)
    assert source.given < 2_000


async def test_a_client_that_leaves_ends_its_stream(served: RunningServer) -> None:
    """When a client disconnects in the middle, the stream is closed and nothing more is read from it."""
    source = Source(2_000, LARGE)
    answer_with(served, source)
    client = await served.connect()
    await client.send(asked())
    await stalled(source)
    await client.close()
    await eventually(lambda: source.closed)
    assert source.given < 2_000


async def test_a_stop_cuts_a_stream(served: RunningServer) -> None:
    """A stream that is longer than the server waits at its stop is cut: the connection ends without the last chunk."""
    source = Source(10**9)
    answer_with(served, source)
    client = await served.connect()
    await client.send(asked())
    await eventually(lambda: source.given > 0)
    await served.server.stop(seconds=0.01)
    assert source.closed
