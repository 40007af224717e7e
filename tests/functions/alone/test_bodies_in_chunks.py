"""A function that runs alone, as a process, refuses chunked bodies: uvicorn may have added their trailers to the
headers."""

from __future__ import annotations

import shutil
import socket
from contextlib import suppress
from pathlib import Path

import orjson
import pytest

from tests.functions.alone.requests import EVENTS, REQUESTS
from tests.functions.alone.starting import Alone, started
from tests.functions.alone.story import Story, create_story
from tests.waiting import PATIENCE_SECONDS

SERVERS = ["httptools", "h11"]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    return create_story(tmp_path_factory.mktemp("chunks") / "story")


def message(path: str, headers: dict[str, str], body: bytes, trailers: dict[str, str]) -> list[bytes]:
    """Return a chunked POST: its head, its body and its trailers."""
    lines = {"host": "alone", "transfer-encoding": "chunked", **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    tail = "".join(f"{name}: {value}\r\n" for name, value in trailers.items())
    return [
        f"POST {path} HTTP/1.1\r\n{head}\r\n".encode(),
        b"%x\r\n%s\r\n0\r\n" % (len(body), body),
        f"{tail}\r\n".encode(),
    ]


def exchange(alone: Alone, first: bytes, *later: bytes) -> bytes:
    """Send the first piece, wait for the response, send the others, and return all bytes until the server closes."""
    answer = b""
    with socket.create_connection(("127.0.0.1", alone.port), timeout=PATIENCE_SECONDS) as connection:
        connection.sendall(first)
        while received := connection.recv(65536):
            answer += received
        with suppress(ConnectionError):
            for piece in later:
                connection.sendall(piece)
    return answer


def send_without_end(connection: socket.socket, field: bytes) -> None:
    """Send a field again and again, at most a gigabyte."""
    for _ in range(10**9 // len(field)):
        connection.sendall(field)


@pytest.mark.parametrize("server", SERVERS)
def test_trailers_do_not_count_as_credentials(story: Story, tmp_path: Path, server: str) -> None:
    """A chunked payment is refused wherever its token and signature are, in one piece and in three; with a length it is
    accepted, and was not made before."""
    data_dir = tmp_path / "data"
    shutil.copytree(story.data_dir, data_dir)
    operation = "payments/create_payment"
    payment = REQUESTS[operation](story)
    headers = story.headers("POST", payment.path, payment.content, platform=False)
    with started(f"functions/{operation}.py", data_dir, UVICORN_HTTP=server) as alone:
        hidden = message(payment.path, {}, payment.content, headers)
        for pieces in ([b"".join(hidden)], hidden, message(payment.path, headers, payment.content, {})):
            answer = exchange(alone, *pieces)
            assert answer.startswith(b"HTTP/1.1 400"), (answer, alone.output())
            document = orjson.loads(answer.partition(b"\r\n\r\n")[2])
            assert (document["code"], "Transfer-Encoding" in document["detail"]) == ("malformed_request", True)
        made = alone.send("POST", payment.path, headers, payment.content)
        assert (made.status, "idempotent-replayed" in made.headers) == (201, False)


@pytest.mark.parametrize("server", SERVERS)
def test_trailers_do_not_count_as_attributes(story: Story, tmp_path: Path, server: str) -> None:
    """A chunked event is refused wherever its attributes are; with a length it is accepted."""
    data_dir = tmp_path / "data"
    shutil.copytree(story.data_dir, data_dir)
    operation = "accounts/hold_funds"
    headers, body = EVENTS[operation](story).to_binary()
    attributes = {name: value for name, value in headers.items() if name.startswith("ce-")}
    rest = {name: value for name, value in headers.items() if name not in attributes}
    with started(f"functions/{operation}.py", data_dir, UVICORN_HTTP=server) as alone:
        for pieces in ([b"".join(message("/", rest, body, attributes))], message("/", dict(headers), body, {})):
            answer = exchange(alone, *pieces).lower()
            assert answer.startswith(b"http/1.1 400"), (answer, alone.output())
            assert b"kne-code: malformed_request" in answer
        assert alone.send("POST", "/", headers, body).status == 204


def test_trailers_without_end_are_not_read(story: Story, tmp_path: Path) -> None:
    """A function that has refused a chunked body closes the connection and does not read the rest."""
    data_dir = tmp_path / "data"
    shutil.copytree(story.data_dir, data_dir)
    with started("functions/payments/create_payment.py", data_dir, UVICORN_HTTP="httptools") as alone:
        with socket.create_connection(("127.0.0.1", alone.port), timeout=PATIENCE_SECONDS) as connection:
            for piece in message("/v1/payments", {}, b"{}", {"x": "y"})[:2]:
                connection.sendall(piece)
            assert connection.recv(65536).startswith(b"HTTP/1.1 400")
            with pytest.raises(ConnectionError):
                send_without_end(connection, b"x: " + b"y" * 100_000 + b"\r\n")
        assert alone.send("GET", "/", {}).status == 404
