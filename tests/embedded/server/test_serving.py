"""A server: how many connections it takes, who makes room, what the log says, and how it stops."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from embedded.server.listening import listen
from embedded.server.serving import Server
from tests.embedded.server.talking import CLOSE, GET, HELD, Client, Place, eventually, promptly, serving

LIMIT = 3


@pytest_asyncio.fixture
async def place() -> AsyncIterator[Place]:
    async with serving(limit=LIMIT) as started:
        yield started


async def held(place: Place) -> Client:
    """A client whose request is being answered until it is released."""
    client = await place.connect()
    before = len(place.echo.seen)
    await client.send(HELD)
    await eventually(lambda: len(place.echo.seen) > before)
    return client


async def test_the_one_that_waits_longest_makes_room(place: Place) -> None:
    """Where all connections are taken, a new one is served, and the one that has sent nothing for longest is closed."""
    silent = [await place.connect() for _ in range(LIMIT)]
    await silent[0].send(GET)
    await silent[0].answer()
    newest = await place.connect()
    await newest.send(GET)
    assert await newest.answer() == (200, b"/a")
    assert await promptly(silent[1].rest()) == b""
    for client in (silent[0], silent[2]):
        await client.send(GET)
        assert await client.answer() == (200, b"/a")


async def test_half_a_request_makes_room_too(place: Place) -> None:
    """Half a head or half a body keeps no one out."""
    halves = [b"GET /a HTT", b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n{", b"GET /a HTTP/1.1\r\n"]
    for half in halves:
        await (await place.connect()).send(half)
    for _ in range(LIMIT):
        client = await place.connect()
        await client.send(GET)
        assert await client.answer() == (200, b"/a")
    assert len(place.server.connections.open) == LIMIT


async def test_a_request_under_way_makes_no_room(place: Place) -> None:
    """While a request is answered on every connection, one more is let in, and the next when one of them is done."""
    clients = [await held(place) for _ in range(LIMIT)]
    newest = await place.connect()
    waiting = Client(*await asyncio.open_connection("127.0.0.1", place.port))
    place.clients.append(waiting)
    await newest.send(GET)
    assert await newest.answer() == (200, b"/a")
    await waiting.send(GET)
    place.echo.released.set()
    for client in clients:
        assert await client.answer() == (200, b"/held")
    assert await waiting.answer() == (200, b"/a")


async def test_hundreds_of_silent_connections_keep_no_one_out(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """However many come and say nothing, who asks is answered, and the log has a line a minute."""
    for _ in range(300):
        place.clients.append(Client(*await asyncio.open_connection("127.0.0.1", place.port)))
    client = await place.connect()
    await client.send(GET)
    assert await client.answer() == (200, b"/a")
    await eventually(lambda: len(place.server.connections.open) <= LIMIT)
    assert len(caplog.records) == 1
    assert f"all {LIMIT} connections are in use: closed 1 that waited for a request" in caplog.text
    caplog.clear()
    place.pass_seconds(60)
    assert len(caplog.records) == 1
    assert "closed 297 that waited for a request" in caplog.text
    caplog.clear()
    place.pass_seconds(120)
    assert caplog.records == []


async def test_a_system_without_files_is_told_to_the_log(
    place: Place, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the system refuses a connection to this process, one that waits is closed, and the log says why."""
    silent = await place.connect()
    failing = [OSError(errno.EMFILE, "Too many open files"), ConnectionAbortedError()]

    async def refusing(listening: socket.socket) -> socket.socket:
        if failing:
            raise failing.pop()
        return (await real(listening))[0]

    loop = asyncio.get_running_loop()
    real = loop.sock_accept
    monkeypatch.setattr(Server, "_accepted", lambda self: refusing(self._listening))
    # The one that the server is waiting for already is accepted as before.
    first = await place.connect()
    last = Client(*await asyncio.open_connection("127.0.0.1", place.port))
    place.clients.append(last)
    await last.send(GET)
    assert await last.answer() == (200, b"/a")
    assert (await promptly(silent.rest()), failing) == (b"", [])
    assert "the system refused one (Too many open files)" in caplog.text
    await first.send(GET)
    assert await first.answer() == (200, b"/a")


# Stopping


async def test_a_stop_closes_what_waits_and_finishes_what_is_under_way(place: Place) -> None:
    """Idle connections and half heads are closed at once; requests that came are answered, the last with `close`."""
    place.server.connections.limit = 10
    idle, half, under_way = await place.connect(), await place.connect(), await held(place)
    await half.send(b"GET /a HT")
    body = await place.connect()
    await body.send(b"POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n{")
    stages = {"between", "head", "body"}
    connections = place.server.connections
    await eventually(lambda: {found._reader.stage for found in connections.open} == stages)  # type: ignore[attr-defined]
    stopping = asyncio.ensure_future(place.server.stop(seconds=60))
    assert [await promptly(client.rest()) for client in (idle, half)] == [b"", b""]
    await body.send(b'"}')
    assert await body.answer() == (200, b"/b")
    place.echo.released.set()
    answer = await promptly(under_way.rest())
    assert b"connection: close" in answer
    assert answer.endswith(b"/held")
    await body.close()
    await under_way.close()
    await stopping


async def test_a_stop_answers_the_requests_that_have_come(place: Place) -> None:
    """Requests that were sent behind the one under way are answered before the connection ends."""
    client = await place.connect()
    await client.send(HELD + GET + GET)
    await eventually(lambda: place.echo.paths == ["/held"])
    stopping = asyncio.ensure_future(place.server.stop(seconds=60))
    place.echo.released.set()
    assert [await client.answer() for _ in range(3)] == [(200, b"/held"), (200, b"/a"), (200, b"/a")]
    assert await promptly(client.rest()) == b""
    await client.close()
    await stopping


async def test_a_stop_has_a_bound(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """A request that is not answered by then is given up, and its connection closed."""
    client = await held(place)
    await place.server.stop(seconds=0.01)
    assert await promptly(client.rest()) == b""
    assert "cancelled 1 requests that were not answered within 0.01 seconds" in caplog.text


async def test_a_stop_waits_for_no_client_that_has_its_answer(place: Place) -> None:
    """A client that keeps its connection behind its last answer holds a stop up for two seconds at most."""
    client = await place.connect()
    await client.send(CLOSE)
    assert (await promptly(client.rest())).endswith(b"/last")
    stopping = asyncio.ensure_future(place.server.stop(seconds=60))
    place.pass_seconds(2)
    await stopping


async def test_nothing_is_accepted_after_a_stop(place: Place) -> None:
    """A stopped server's port is free."""
    await place.server.stop(seconds=1)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", place.port)
    listen("127.0.0.1", place.port).close()


async def test_small_answers_are_not_held_back() -> None:
    """Nagle's algorithm is off: an answer leaves when it is written."""
    async with serving() as place:
        await place.connect()
        [connection] = place.server.connections.open
        accepted = connection._transport.get_extra_info("socket")  # type: ignore[attr-defined]
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
