"""The load generator: requests on keep-alive connections, their responses, and percentiles of their latencies."""

from __future__ import annotations

import asyncio
import hmac
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bench.client import (
    Connection,
    Credentials,
    call,
    closed_loop,
    connect,
    credentials_of,
    open_loop,
    percentile,
    signed_request,
)

CREDENTIALS = Credentials("127.0.0.1", 0, "ten_1", "key_1", "secret", "token")


class Answers:
    """A server for this test: it answers each request with the next of these, and records the requests."""

    def __init__(self, *answers: bytes) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self._answers = list(answers)
        self._serving: list[asyncio.Task[None]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.append(task)
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
                self.requests.append(head + await reader.readexactly(length))
                writer.write(self._answers.pop(0) if len(self._answers) > 1 else self._answers[0])
        except asyncio.IncompleteReadError:
            writer.close()
            await writer.wait_closed()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Credentials]:
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        async with server:
            yield replace(CREDENTIALS, port=server.sockets[0].getsockname()[1])
            await asyncio.gather(*self._serving)


def answer(status: int, body: bytes) -> bytes:
    return b"HTTP/1.1 %d Whatever\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)


def request(number: int) -> bytes:
    return signed_request(CREDENTIALS, "POST", "/v1/payments", b"{}", f"key-{number}")


def test_signature_covers_the_request() -> None:
    """The signature of a request is the HMAC of the canonical string of the bytes that are sent."""
    raw = signed_request(CREDENTIALS, "POST", "/v1/payments", b'{"a":1}', "key-7", wait_seconds=3)
    head, _, body = raw.decode().partition("\r\n\r\n")
    first, *lines = head.split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    digest = sha256(body.encode()).hexdigest()
    signed = ("v1", "POST", "/v1/payments", "", digest, "ten_1", "key-7", headers["x-timestamp"], "key_1")
    signature = hmac.digest(b"secret", "\n".join(signed).encode(), "sha256")
    assert first == "POST /v1/payments HTTP/1.1"
    assert headers["x-signature"] == "v1=" + b64encode(signature).decode()
    assert (headers["idempotency-key"], headers["authorization"]) == ("key-7", "Bearer token")
    assert (headers["prefer"], headers["content-length"]) == ("wait=3", "7")


def test_answer_in_pieces() -> None:
    """A response is complete when its body is, however the bytes arrive, and the bytes of the next one are stored for
    it."""

    async def read() -> tuple[tuple[int, bytes], tuple[int, bytes]]:
        connection = Connection()
        connection.connection_made(asyncio.Transport())
        connection._transport = Silent()
        first = asyncio.ensure_future(connection.send(b""))
        await asyncio.sleep(0)
        raw = answer(201, b'{"id":"pay_1"}')
        for position in range(len(raw)):
            assert not first.done()
            connection.data_received(raw[position : position + 1])
        second = asyncio.ensure_future(connection.send(b""))
        connection.data_received(answer(503, b"")[:10])
        await asyncio.sleep(0)
        connection.data_received(answer(503, b"")[10:])
        return await first, await second

    assert asyncio.run(read()) == ((201, b'{"id":"pay_1"}'), (503, b""))


class Silent(asyncio.Transport):
    def write(self, data: object) -> None:
        """Send nothing."""


async def test_closed_connection_is_an_error() -> None:
    """A server that closes the connection instead of answering causes an error of the request."""

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        connection = await connect(replace(CREDENTIALS, port=server.sockets[0].getsockname()[1]))
        with pytest.raises(ConnectionError):
            await connection.send(request(1))
        connection.close()


async def test_closed_loop_sends_each_request_once() -> None:
    """A closed loop sends every request once over its connections, and counts statuses and latencies."""
    answers = Answers(answer(503, b"no"), answer(201, b"yes"))
    async with answers.running() as credentials:
        outcome = await closed_loop(credentials, (request(number) for number in range(20)), connections=4)
    assert sorted(answers.requests) == sorted(set(answers.requests))
    assert (len(answers.requests), answers.connections) == (20, 4)
    assert outcome.statuses == {503: 1, 201: 19}
    assert len(outcome.latencies) == 20
    assert 0 < max(outcome.latencies) <= outcome.seconds


async def test_open_loop_answers_every_request() -> None:
    """An open loop sends every request and measures the latency of each, also when several are due at the same time."""
    answers = Answers(answer(201, b""))
    async with answers.running() as credentials:
        outcome = await open_loop(credentials, (request(number) for number in range(30)), per_second=1e9)
    assert len(answers.requests) == 30
    assert outcome.statuses == {201: 30}
    assert len(outcome.latencies) == 30


async def test_call_returns_the_document() -> None:
    """A call returns the JSON object of the response."""
    async with Answers(answer(201, b'{"id":"acc_1"}')).running() as credentials:
        assert await call(credentials, "POST", "/v1/accounts", {}, "key") == {"id": "acc_1"}


async def test_call_that_is_refused() -> None:
    """A call that is refused raises RuntimeError with the request, the status and the problem document."""
    async with Answers(answer(422, b'{"code":"validation_failed"}')).running() as credentials:
        with pytest.raises(RuntimeError, match=r"POST /v1/accounts: 422 .*validation_failed"):
            await call(credentials, "POST", "/v1/accounts", {}, "key")


def test_credentials_file(tmp_path: Path) -> None:
    """Credentials are those of the demo tenant in the file that `lastro up` writes."""
    (tmp_path / "credentials.json").write_text(
        '{"base_url": "http://127.0.0.1:8123",'
        ' "demo": {"tenant_id": "demo", "key_id": "key_9", "signing_secret": "hidden"}}'
    )
    assert credentials_of(tmp_path, "abc") == Credentials("127.0.0.1", 8123, "demo", "key_9", "hidden", "abc")


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0, 1))
def test_percentile_is_the_nearest_rank(values: list[float], share: float) -> None:
    """At most the given share of the values lies below a percentile, and it is one of the values."""
    found = percentile(values, share)
    assert found in values
    assert sum(value < found for value in values) <= share * len(values)


def test_percentile_of_nothing() -> None:
    """The percentile of no values is zero."""
    assert percentile([], 0.95) == 0
