"""A server: the number of its connections, the choice of those to close, its log lines, and its stop."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from embedded.server.listening import listen
from embedded.server.serving import Server
from tests.embedded.server.echo_server import CLOSE, GET, HELD, Client, RunningServer, eventually, promptly, serving

LIMIT = 3


@pytest_asyncio.fixture
async def served() -> AsyncIterator[RunningServer]:
    async with serving(limit=LIMIT) as started:
        yield started


async def held(served: RunningServer) -> Client:
    """Return a client whose request is in progress until it is released."""
    client = await served.connect()
    before = len(served.echo.seen)
    await client.send(HELD)
    await eventually(lambda: len(served.echo.seen) > before)
    return client


async def test_the_connection_that_waits_longest_is_closed_for_a_new_one(served: RunningServer) -> None:
    """When all connections are in use, a new one is served, and the one that has been silent for longest is closed."""
    silent = [await served.connect() for _ in range(LIMIT)]
    await silent[0].send(GET)
    await silent[0].answer()
    newest = await served.connect()
    await newest.send(GET)
    assert await newest.answer() == (200, b"/a")
    assert await promptly(silent[1].rest()) == b""
    for client in (silent[0], silent[2]):
        await client.send(GET)
        assert await client.answer() == (200, b"/a")


async def test_a_connection_with_half_a_request_is_closed_for_a_new_one(served: RunningServer) -> None:
    """A connection with an incomplete head or body is closed for a new connection."""
    halves = [b"GET /a HTT", b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n{", b"GET /a HTTP/1.1\r\n"]
    for half in halves:
        await (await served.connect()).send(half)
    for _ in range(LIMIT):
        client = await served.connect()
        await client.send(GET)
        assert await client.answer() == (200, b"/a")
    assert len(served.server.connections.open) == LIMIT


async def test_a_connection_with_a_request_in_progress_is_not_closed(served: RunningServer) -> None:
    """While every connection has a request in progress, one more connection is accepted, and the next when a request
    ends."""
    clients = [await held(served) for _ in range(LIMIT)]
    newest = await served.connect()
    waiting = Client(*await asyncio.open_connection("127.0.0.1", served.port))
    served.clients.append(waiting)
    await newest.send(GET)
    assert await newest.answer() == (200, b"/a")
    await waiting.send(GET)
    served.echo.released.set()
    for client in clients:
        assert await client.answer() == (200, b"/held")
    assert await waiting.answer() == (200, b"/a")


async def test_hundreds_of_silent_connections_do_not_block_clients(
    served: RunningServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Many silent connections do not prevent the service of other clients, and the log has one line a minute."""
    for _ in range(300):
        served.clients.append(Client(*await asyncio.open_connection("127.0.0.1", served.port)))
    client = await served.connect()
    await client.send(GET)
    assert await client.answer() == (200, b"/a")
    await eventually(lambda: len(served.server.connections.open) <= LIMIT)
    assert len(caplog.records) == 1
    assert f"all {LIMIT} connections are in use: closed 1 that waited for a request" in caplog.text
    caplog.clear()
    served.pass_seconds(60)
    assert len(caplog.records) == 1
    assert "closed 297 that waited for a request" in caplog.text
    caplog.clear()
    served.pass_seconds(120)
    assert caplog.records == []


async def test_a_connection_that_the_system_refuses_is_logged(
    served: RunningServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the system refuses a connection to this process, a waiting connection is closed, and the log has the
    reason."""
    silent = await served.connect()
    failing = [OSError(errno.EMFILE, "Too many open files"), ConnectionAbortedError()]

    async def refusing(listening: socket.socket) -> socket.socket:
        if failing:
            raise failing.pop()
        return (await real(listening))[0]

    loop = asyncio.get_running_loop()
    real = loop.sock_accept
    monkeypatch.setattr(Server, "_accepted", lambda self: refusing(self._listening))
    # The connection for which the server already waits is accepted as before.
    first = await served.connect()
    last = Client(*await asyncio.open_connection("127.0.0.1", served.port))
    served.clients.append(last)
    await last.send(GET)
    assert await last.answer() == (200, b"/a")
    assert (await promptly(silent.rest()), failing) == (b"", [])
    assert "the system refused one (Too many open files)" in caplog.text
    await first.send(GET)
    assert await first.answer() == (200, b"/a")


# Stopping


async def test_a_stop_closes_idle_connections_and_answers_requests(served: RunningServer) -> None:
    """A stop closes idle connections and incomplete heads; requests that have arrived are answered, the last with
    `close`."""
    served.server.connections.limit = 10
    idle, half, under_way = await served.connect(), await served.connect(), await held(served)
    await half.send(b"GET /a HT")
    body = await served.connect()
    await body.send(b"POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n{")
    stages = {"between", "head", "body"}
    connections = served.server.connections
    await eventually(lambda: {found._reader.stage for found in connections.open} == stages)  # type: ignore[attr-defined]
    stopping = asyncio.ensure_future(served.server.stop(seconds=60))
    assert [await promptly(client.rest()) for client in (idle, half)] == [b"", b""]
    await body.send(b'"}')
    assert await body.answer() == (200, b"/b")
    served.echo.released.set()
    answer = await promptly(under_way.rest())
    assert b"connection: close" in answer
    assert answer.endswith(b"/held")
    await body.close()
    await under_way.close()
    await stopping


async def test_a_stop_answers_requests_that_have_arrived(served: RunningServer) -> None:
    """Requests that were sent after the one in progress are answered before the connection is closed."""
    client = await served.connect()
    await client.send(HELD + GET + GET)
    await eventually(lambda: served.echo.paths == ["/held"])
    stopping = asyncio.ensure_future(served.server.stop(seconds=60))
    served.echo.released.set()
    assert [await client.answer() for _ in range(3)] == [(200, b"/held"), (200, b"/a"), (200, b"/a")]
    assert await promptly(client.rest()) == b""
    await client.close()
    await stopping


async def test_a_stop_has_a_bound(served: RunningServer, caplog: pytest.LogCaptureFixture) -> None:
    """A request that is not answered within the bound of the stop is cancelled and answered with 503, and its
    connection is closed."""
    client = await served.connect()
    await client.send(HELD + GET + b"POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n{")
    await eventually(lambda: served.echo.paths == ["/held"])
    await served.server.stop(seconds=0.01)
    answer = await promptly(client.rest())
    assert answer.startswith(b"HTTP/1.1 503")
    assert b"connection: close" in answer
    assert b"Send it again with the same Idempotency-Key" in answer
    assert answer.endswith(b"dependency_unavailable")
    assert answer.count(b"HTTP/1.1") == 1
    assert "cancelled 1 requests that were not answered within 0.01 seconds" in caplog.text


async def test_a_stop_logs_no_cancelled_request_when_there_is_none(
    served: RunningServer, caplog: pytest.LogCaptureFixture
) -> None:
    """A connection that its client keeps open after the last response is closed at the bound of the stop without a log
    line about cancelled requests."""
    client = await served.connect()
    await client.send(CLOSE)
    assert (await promptly(client.rest())).endswith(b"/last")
    await served.server.stop(seconds=0.01)
    assert "cancelled" not in caplog.text


async def test_a_stop_does_not_wait_for_a_client_that_has_its_response(served: RunningServer) -> None:
    """A client that keeps its connection open after its last response delays a stop by at most two seconds."""
    client = await served.connect()
    await client.send(CLOSE)
    assert (await promptly(client.rest())).endswith(b"/last")
    stopping = asyncio.ensure_future(served.server.stop(seconds=60))
    served.pass_seconds(3)
    await stopping


async def test_no_connection_is_accepted_after_a_stop(served: RunningServer) -> None:
    """The port of a stopped server is free."""
    await served.server.stop(seconds=1)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", served.port)
    listen("127.0.0.1", served.port).close()


async def test_small_responses_are_sent_immediately() -> None:
    """Nagle's algorithm is off: a response is sent when it is written."""
    async with serving() as served:
        await served.connect()
        [connection] = served.server.connections.open
        accepted = connection._transport.get_extra_info("socket")  # type: ignore[attr-defined]
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
