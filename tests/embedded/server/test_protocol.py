"""A connection: the order of responses, deadlines, and the end of the connection."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from shared.core.settings import Settings
from shared.http.messages import HttpResponse
from tests.embedded.server.echo_server import CLOSE, GET, HELD, RunningServer, eventually, promptly, serving
from tests.embedded.server.hostile import STREAMS, Stream

HEAD = b"POST /a HTTP/1.1\r\nHost: a\r\n"


@pytest_asyncio.fixture
async def served() -> AsyncIterator[RunningServer]:
    async with serving() as started:
        yield started


def statuses(answers: bytes) -> list[int]:
    """Return the statuses of all responses in these bytes."""
    return [int(status) for status in re.findall(rb"HTTP/1\.1 ([0-9]{3}) ", answers)]


@pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS)
async def test_a_hostile_stream_is_answered_and_ended(served: RunningServer, stream: Stream) -> None:
    """Each request gets its response, then the refusal is sent, and then the connection is closed."""
    client = await served.connect()
    await client.send(stream.sent)
    client.writer.write_eof()
    answers = await promptly(client.rest())
    refused = {"malformed_request": [400], "payload_too_large": [413], "uri_too_long": [414], "head_too_large": [431]}
    assert [status for status in statuses(answers) if status != 100] == [200] * len(stream.paths) + refused.get(
        stream.refusal or "", []
    )
    assert served.echo.paths == [*stream.paths]
    assert answers.endswith((stream.refusal or "").encode())


async def test_responses_are_in_the_order_of_requests(served: RunningServer) -> None:
    """A malformed request after a valid one is refused after the valid one is answered, and not before."""
    client = await served.connect()
    await client.send(HELD + GET + b"nonsense\r\n\r\n")
    await eventually(lambda: served.echo.paths == ["/held"])
    served.echo.released.set()
    assert [await client.answer() for _ in range(3)] == [(200, b"/held"), (200, b"/a"), (400, b"malformed_request")]
    assert await client.rest() == b""


async def test_a_later_malformed_request_is_refused_after_the_response(served: RunningServer) -> None:
    """Data that arrives while a request is being answered is processed after it, also when it is refused."""
    client = await served.connect()
    await client.send(HELD)
    await eventually(lambda: served.echo.paths == ["/held"])
    await client.send(GET, b"nonsense\r\n\r\n")
    served.echo.released.set()
    assert statuses(await client.rest()) == [200, 200, 400]


async def test_one_request_is_answered_at_a_time(served: RunningServer) -> None:
    """The requests of one connection are processed one after the other."""
    client = await served.connect()
    await client.send(HELD + GET)
    await eventually(lambda: served.echo.paths == ["/held"])
    other = await served.connect()
    await other.send(GET)
    await other.answer()
    assert served.echo.paths == ["/held", "/a"]
    served.echo.released.set()
    assert [await client.answer(), await client.answer()] == [(200, b"/held"), (200, b"/a")]


async def test_requests_wait_while_the_client_does_not_read(served: RunningServer) -> None:
    """While a client does not read its responses, its further requests are not processed; when it reads, all are
    answered."""
    served.echo.response = lambda _: HttpResponse(200, {}, b"x" * 100_000)
    client = await served.connect()
    sending = asyncio.ensure_future(client.send(*[GET * 100] * 20, CLOSE))
    begun = 0
    while begun != len(served.echo.seen) or begun < 2:
        begun = len(served.echo.seen)
        await asyncio.sleep(0.2)
    assert begun < 1000
    answers = await promptly(client.rest())
    await sending
    assert (len(served.echo.seen), answers.count(b"HTTP/1.1 200 OK")) == (2001, 2001)


async def test_a_head_response_has_a_length_and_no_content(served: RunningServer) -> None:
    """A HEAD response has the length of the GET content and no content."""
    served.echo.response = lambda request: HttpResponse(200, {"x-method": request.method}, b"content")
    answer = await served.exchange(b"HEAD /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert b"content-length: 7\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")


async def test_every_response_has_a_date(served: RunningServer) -> None:
    """Each response, also a refusal, has a Date header (RFC 9110 §6.6.1)."""
    for sent in (CLOSE, b"nonsense\r\n\r\n"):
        assert f"\r\ndate: {served.server.connections.date}\r\n".encode() in await served.exchange(sent)


@pytest.mark.parametrize(
    "last",
    [CLOSE, CLOSE.replace(b"1.1", b"1.0"), b"POST /a HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"],
)
async def test_the_last_response_has_connection_close(served: RunningServer, last: bytes) -> None:
    """Only the last response of a connection has `Connection: close`."""
    first, second = (await served.exchange(GET + last)).split(b"HTTP/1.1 ")[1:]
    assert (b"connection: close" in first, b"connection: close" in second) == (False, True)


async def test_a_half_closed_client_gets_its_responses(served: RunningServer) -> None:
    """Requests that arrived before the client closed its sending side are answered."""
    client = await served.connect()
    await client.send(HELD + GET)
    client.writer.write_eof()
    await eventually(lambda: served.echo.paths == ["/held"])
    served.echo.released.set()
    assert statuses(await client.rest()) == [200, 200]


async def test_a_disconnected_client_is_no_error(served: RunningServer, caplog: pytest.LogCaptureFixture) -> None:
    """A client that disconnects during a request, or before its response, leaves no state and no log line."""
    half = await served.connect()
    await half.send(HEAD + b"Content-Length: 5\r\n\r\n{")
    early = await served.connect()
    await early.send(HELD)
    await eventually(lambda: served.echo.paths == ["/held"])
    for client in (half, early):
        client.writer.transport.abort()
    served.echo.released.set()
    await served.server.connections.none_left()
    assert (served.echo.paths, caplog.records) == (["/held"], [])


async def test_a_client_that_expects_100_continue_gets_it(served: RunningServer) -> None:
    """`Expect: 100-continue` is answered when the earlier requests of the connection are answered."""
    client = await served.connect()
    await client.send(HELD + HEAD + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n")
    await eventually(lambda: served.echo.paths == ["/held"])
    served.echo.released.set()
    assert await client.answer() == (200, b"/held")
    assert await client.answer() == (100, b"")
    await client.send(b"abc")
    assert await client.answer() == (200, b"/a")
    assert served.echo.seen[-1].body == b"abc"


async def test_a_client_does_not_get_100_continue_for_a_body_that_is_too_large(served: RunningServer) -> None:
    """A body whose length exceeds the bound is refused before it is sent."""
    answer = await served.exchange(HEAD + b"Expect: 100-continue\r\nContent-Length: 300000\r\n\r\n")
    assert (statuses(answer), served.echo.seen) == ([413], [])


async def test_a_refusal_reaches_a_client_that_is_still_sending(served: RunningServer) -> None:
    """A client that sends megabytes before it reads receives the refusal and no connection reset."""
    client = await served.connect()
    await client.send(HEAD + b"Content-Length: 20000000\r\n\r\n", *[b"x" * 1_000_000] * 20)
    assert statuses(await promptly(client.rest())) == [413]


@pytest.mark.parametrize("bad", ["a\r\nset-cookie: b", "a\nb", "a\rb", "Ω"])
async def test_a_response_cannot_be_split(served: RunningServer, bad: str, caplog: pytest.LogCaptureFixture) -> None:
    """A response whose header has a line break, or cannot be encoded, is replaced by 500 and logged."""
    served.echo.response = lambda _: HttpResponse(200, {"location": bad}, b"")
    assert statuses(await served.exchange(CLOSE)) == [500]
    assert [record.message for record in caplog.records] == ["a response cannot be sent"]


async def test_a_204_has_no_content(served: RunningServer) -> None:
    """A response with status 204 has neither content nor a length (RFC 9110 §8.6), whatever the application returns."""
    served.echo.response = lambda _: HttpResponse(204, {}, b"x")
    answer = await served.exchange(CLOSE)
    assert b"content-length" not in answer
    assert answer.endswith(b"\r\n\r\n")


# Deadlines

SETTINGS = Settings(head_seconds=10, body_seconds=30, idle_seconds=75)
LATE_HEAD = b"The head of the request was not complete after 10 seconds."
LATE_BODY = b"The body of the request was not complete after 30 seconds."
HALF = {
    "nothing": (b"", 10, b""),
    "empty lines": (b"\r\n\r\n", 10, b""),
    "half a request line": (b"GET /a HT", 10, LATE_HEAD),
    "half a head": (HEAD, 10, LATE_HEAD),
    "half a body": (HEAD + b"Content-Length: 9\r\n\r\n{", 30, LATE_BODY),
    "half a chunk": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n9\r\n{", 30, LATE_BODY),
}


@pytest.mark.parametrize(("sent", "seconds", "detail"), HALF.values(), ids=HALF)
async def test_an_incomplete_request_has_a_deadline(sent: bytes, seconds: int, detail: bytes) -> None:
    """A connection without a request, and one with an incomplete request, have deadlines; the latter is answered with a
    refusal."""
    async with serving(SETTINGS) as served:
        client = await served.connect()
        await client.send(sent)
        [connection] = served.server.connections.open
        before = connection.deadline
        if sent.strip():
            await eventually(lambda: connection._stage != "between")  # type: ignore[attr-defined]
        assert connection.deadline >= before
        served.pass_seconds(seconds)
        assert connection in served.server.connections.open
        served.pass_seconds(1)
        answer = await promptly(client.rest())
        assert statuses(answer) == ([400] if detail else [])
        assert detail in answer


async def test_single_bytes_do_not_extend_a_deadline() -> None:
    """A client that sends single bytes does not extend a deadline: each part of a request has one deadline."""
    async with serving(SETTINGS) as served:
        client = await served.connect()
        [connection] = served.server.connections.open
        for byte in HEAD[:9]:
            await client.send(bytes([byte]))
            read = connection._reader  # type: ignore[attr-defined]
            await eventually(lambda read=read: read.stage == "head")  # type: ignore[misc]
            served.pass_seconds(1)
        served.pass_seconds(2)
        assert statuses(await promptly(client.rest())) == [400]


async def test_a_connection_is_kept_between_requests() -> None:
    """After a response the connection stays open for the next request, and is closed at the deadline."""
    async with serving(SETTINGS) as served:
        client = await served.connect()
        for _ in range(3):
            await client.send(GET)
            assert await client.answer() == (200, b"/a")
            served.pass_seconds(75)
        served.pass_seconds(1)
        assert await promptly(client.rest()) == b""


async def test_a_request_in_progress_has_no_deadline() -> None:
    """A request that is being answered has no deadline."""
    async with serving(SETTINGS) as served:
        client = await served.connect()
        await client.send(HELD)
        await eventually(lambda: served.echo.paths == ["/held"])
        served.pass_seconds(10_000)
        served.echo.released.set()
        assert await client.answer() == (200, b"/held")


async def test_a_client_that_never_reads_is_disconnected() -> None:
    """A connection whose client does not read its responses is closed at the deadline."""
    async with serving(SETTINGS) as served:
        served.echo.response = lambda _: HttpResponse(200, {}, b"x" * 20_000_000)
        client = await served.connect()
        client.reader._transport.pause_reading()  # type: ignore[attr-defined]
        await client.send(GET)
        connections = served.server.connections
        await eventually(lambda: len(served.echo.seen) == 1 and not connections.answering)
        served.pass_seconds(76)
        await eventually(lambda: not connections.open)


async def test_a_client_that_keeps_the_connection_open_is_disconnected(served: RunningServer) -> None:
    """A connection is closed two seconds after its last response, whatever the client still sends."""
    client = await served.connect()
    await client.send(CLOSE + GET)
    assert statuses(await client.rest()) == [200]
    await client.send(GET)
    assert served.server.connections.open
    served.pass_seconds(3)
    await eventually(lambda: not served.server.connections.open)
    assert served.echo.paths == ["/last"]
