"""A connection: answers in the order of requests, deadlines, and how it ends."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from shared.core.settings import Settings
from shared.http.messages import HttpResponse
from tests.embedded.server.hostile import STREAMS, Stream
from tests.embedded.server.talking import CLOSE, GET, HELD, Place, eventually, promptly, serving

HEAD = b"POST /a HTTP/1.1\r\nHost: a\r\n"


@pytest_asyncio.fixture
async def place() -> AsyncIterator[Place]:
    async with serving() as started:
        yield started


def statuses(answers: bytes) -> list[int]:
    """The statuses of all answers in these bytes."""
    return [int(status) for status in re.findall(rb"HTTP/1\.1 ([0-9]{3}) ", answers)]


@pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS)
async def test_a_hostile_stream_is_answered_and_ended(place: Place, stream: Stream) -> None:
    """Each request gets its answer, then the refusal comes, then the end of the connection."""
    client = await place.connect()
    await client.send(stream.sent)
    client.writer.write_eof()
    answers = await promptly(client.rest())
    refused = {"malformed_request": [400], "payload_too_large": [413], "uri_too_long": [414], "head_too_large": [431]}
    assert [status for status in statuses(answers) if status != 100] == [200] * len(stream.paths) + refused.get(
        stream.refusal or "", []
    )
    assert place.echo.paths == [*stream.paths]
    assert answers.endswith((stream.refusal or "").encode())


async def test_answers_come_in_the_order_of_requests(place: Place) -> None:
    """A malformed request behind a good one is refused when the good one is answered, and not before."""
    client = await place.connect()
    await client.send(HELD + GET + b"nonsense\r\n\r\n")
    await eventually(lambda: place.echo.paths == ["/held"])
    place.echo.released.set()
    assert [await client.answer() for _ in range(3)] == [(200, b"/held"), (200, b"/a"), (400, b"malformed_request")]
    assert await client.rest() == b""


async def test_a_malformed_request_that_comes_later_waits_too(place: Place) -> None:
    """What comes while a request is being answered is read behind it, refusals as well."""
    client = await place.connect()
    await client.send(HELD)
    await eventually(lambda: place.echo.paths == ["/held"])
    await client.send(GET, b"nonsense\r\n\r\n")
    place.echo.released.set()
    assert statuses(await client.rest()) == [200, 200, 400]


async def test_one_request_is_answered_at_a_time(place: Place) -> None:
    """The requests of one connection are begun one behind the other."""
    client = await place.connect()
    await client.send(HELD + GET)
    await eventually(lambda: place.echo.paths == ["/held"])
    other = await place.connect()
    await other.send(GET)
    await other.answer()
    assert place.echo.paths == ["/held", "/a"]
    place.echo.released.set()
    assert [await client.answer(), await client.answer()] == [(200, b"/held"), (200, b"/a")]


async def test_a_client_that_does_not_read_is_not_read_either(place: Place) -> None:
    """Answers that are not taken hold up the requests behind them; once they are taken, all are answered."""
    place.echo.response = lambda _: HttpResponse(200, {}, b"x" * 100_000)
    client = await place.connect()
    sending = asyncio.ensure_future(client.send(*[GET * 100] * 20, CLOSE))
    begun = 0
    while begun != len(place.echo.seen) or begun < 2:
        begun = len(place.echo.seen)
        await asyncio.sleep(0.2)
    assert begun < 1000
    answers = await promptly(client.rest())
    await sending
    assert (len(place.echo.seen), answers.count(b"HTTP/1.1 200 OK")) == (2001, 2001)


async def test_a_head_has_no_content_and_tells_its_length(place: Place) -> None:
    """HEAD is answered with the length that GET's content has, and without the content."""
    place.echo.response = lambda request: HttpResponse(200, {"x-method": request.method}, b"content")
    answer = await place.asked(b"HEAD /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert b"content-length: 7\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")


async def test_every_answer_has_a_date(place: Place) -> None:
    """RFC 9110 §6.6.1: an answer says when it was made; so does a refusal."""
    for sent in (CLOSE, b"nonsense\r\n\r\n"):
        assert f"\r\ndate: {place.server.connections.date}\r\n".encode() in await place.asked(sent)


@pytest.mark.parametrize(
    "last",
    [CLOSE, CLOSE.replace(b"1.1", b"1.0"), b"POST /a HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"],
)
async def test_the_last_answer_says_so(place: Place, last: bytes) -> None:
    """The answer behind which the connection ends carries `Connection: close`, and the others do not."""
    first, second = (await place.asked(GET + last)).split(b"HTTP/1.1 ")[1:]
    assert (b"connection: close" in first, b"connection: close" in second) == (False, True)


async def test_a_client_that_shuts_its_side_gets_its_answers(place: Place) -> None:
    """What was asked for before a client ended its own side is answered."""
    client = await place.connect()
    await client.send(HELD + GET)
    client.writer.write_eof()
    await eventually(lambda: place.echo.paths == ["/held"])
    place.echo.released.set()
    assert statuses(await client.rest()) == [200, 200]


async def test_a_client_that_leaves_is_no_error(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """A client that hangs up in the middle of a request, or before its answer, leaves nothing behind and no log."""
    half = await place.connect()
    await half.send(HEAD + b"Content-Length: 5\r\n\r\n{")
    early = await place.connect()
    await early.send(HELD)
    await eventually(lambda: place.echo.paths == ["/held"])
    for client in (half, early):
        client.writer.transport.abort()
    place.echo.released.set()
    await place.server.connections.none_left()
    assert (place.echo.paths, caplog.records) == (["/held"], [])


async def test_a_client_is_asked_for_its_body(place: Place) -> None:
    """`Expect: 100-continue` is answered once the body is the next thing to come: behind the answers before it."""
    client = await place.connect()
    await client.send(HELD + HEAD + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n")
    await eventually(lambda: place.echo.paths == ["/held"])
    place.echo.released.set()
    assert await client.answer() == (200, b"/held")
    assert await client.answer() == (100, b"")
    await client.send(b"abc")
    assert await client.answer() == (200, b"/a")
    assert place.echo.seen[-1].body == b"abc"


async def test_a_client_is_not_asked_for_a_body_that_is_too_large(place: Place) -> None:
    """A body whose length is beyond the bound is refused before it is sent."""
    answer = await place.asked(HEAD + b"Expect: 100-continue\r\nContent-Length: 300000\r\n\r\n")
    assert (statuses(answer), place.echo.seen) == ([413], [])


async def test_a_refusal_reaches_a_client_that_is_still_sending(place: Place) -> None:
    """A client that sends megabytes before it reads finds its answer, and not a connection that was reset."""
    client = await place.connect()
    await client.send(HEAD + b"Content-Length: 20000000\r\n\r\n", *[b"x" * 1_000_000] * 20)
    assert statuses(await promptly(client.rest())) == [413]


@pytest.mark.parametrize("bad", ["a\r\nset-cookie: b", "a\nb", "a\rb", "Ω"])
async def test_an_answer_cannot_be_split(place: Place, bad: str, caplog: pytest.LogCaptureFixture) -> None:
    """An answer whose header would be read as two, or cannot be written, is a 500 and a line in the log."""
    place.echo.response = lambda _: HttpResponse(200, {"location": bad}, b"")
    assert statuses(await place.asked(CLOSE)) == [500]
    assert [record.message for record in caplog.records] == ["a response cannot be sent"]


async def test_an_answer_without_content_has_none(place: Place) -> None:
    """204 has neither content nor a length (RFC 9110 §8.6), whatever the application says."""
    place.echo.response = lambda _: HttpResponse(204, {}, b"x")
    answer = await place.asked(CLOSE)
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
async def test_half_a_request_has_a_deadline(sent: bytes, seconds: int, detail: bytes) -> None:
    """Who sends nothing is hung up on, and who sends half a request is told so; a second earlier nothing happens."""
    async with serving(SETTINGS) as place:
        client = await place.connect()
        await client.send(sent)
        [connection] = place.server.connections.open
        before = connection.deadline
        if sent.strip():
            await eventually(lambda: connection._stage != "between")  # type: ignore[attr-defined]
        assert connection.deadline >= before
        place.pass_seconds(seconds - 1)
        assert connection in place.server.connections.open
        place.pass_seconds(1)
        answer = await promptly(client.rest())
        assert statuses(answer) == ([400] if detail else [])
        assert detail in answer


async def test_a_trickle_does_not_move_a_deadline() -> None:
    """A byte now and then keeps no connection open: each part of a request has one deadline."""
    async with serving(SETTINGS) as place:
        client = await place.connect()
        [connection] = place.server.connections.open
        for byte in HEAD[:9]:
            await client.send(bytes([byte]))
            read = connection._reader  # type: ignore[attr-defined]
            await eventually(lambda read=read: read.stage == "head")  # type: ignore[misc]
            place.pass_seconds(1)
        place.pass_seconds(1)
        assert statuses(await promptly(client.rest())) == [400]


async def test_a_connection_is_kept_between_requests() -> None:
    """Behind an answer a connection waits for its next request, and is closed when none comes."""
    async with serving(SETTINGS) as place:
        client = await place.connect()
        for _ in range(3):
            await client.send(GET)
            assert await client.answer() == (200, b"/a")
            place.pass_seconds(74)
        place.pass_seconds(1)
        assert await promptly(client.rest()) == b""


async def test_an_answer_has_no_deadline() -> None:
    """A request that is being answered is not hung up on, however long that takes."""
    async with serving(SETTINGS) as place:
        client = await place.connect()
        await client.send(HELD)
        await eventually(lambda: place.echo.paths == ["/held"])
        place.pass_seconds(10_000)
        place.echo.released.set()
        assert await client.answer() == (200, b"/held")


async def test_a_client_that_never_reads_is_cut_off() -> None:
    """Answers that nobody takes are dropped with their connection in the end."""
    async with serving(SETTINGS) as place:
        place.echo.response = lambda _: HttpResponse(200, {}, b"x" * 20_000_000)
        client = await place.connect()
        client.reader._transport.pause_reading()  # type: ignore[attr-defined]
        await client.send(GET)
        connections = place.server.connections
        await eventually(lambda: len(place.echo.seen) == 1 and not connections.answering)
        place.pass_seconds(75)
        await eventually(lambda: not connections.open)


async def test_a_client_that_stays_behind_its_last_answer_is_cut_off(place: Place) -> None:
    """A connection that has had its last answer is closed two seconds later, whatever its client still sends."""
    client = await place.connect()
    await client.send(CLOSE + GET)
    assert statuses(await client.rest()) == [200]
    await client.send(GET)
    assert place.server.connections.open
    place.pass_seconds(2)
    await eventually(lambda: not place.server.connections.open)
    assert place.echo.paths == ["/last"]
