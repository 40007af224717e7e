"""`lastro up` as a process: start, signals, what is in its way, and a kill."""

from __future__ import annotations

import json
import signal
import socket
import time
from contextlib import suppress
from pathlib import Path

import pytest

from embedded.server import MAX_HEADER_BYTES
from tests.cli.started import Started, run, started
from tests.waiting import PATIENCE_SECONDS


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_ends_with_0(tmp_path: Path, number: int) -> None:
    """SIGTERM and Ctrl-C end the process with 0, also while a client keeps its connection."""
    with started(tmp_path / "data") as platform, socket.create_connection(platform.address) as idle:
        idle.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        assert idle.recv(65536).startswith(b"HTTP/1.1 200")
        assert platform.stop(number) == 0


def test_folders_named_like_our_packages_do_not_mislead_it(tmp_path: Path) -> None:
    """Started from a folder that has packages of our names in it, the platform and its writer run their own."""
    for name in ("cli", "embedded", "shared"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('foreign')\n")
    with started(tmp_path / "data", cwd=tmp_path) as platform:
        assert platform.stop() == 0


def test_a_second_up_on_the_same_directory_says_so(platform: Started) -> None:
    """Two platforms never share a data directory: the second says which one, in one line, and ends with 1."""
    second = run("up", "--port", "0", "--data-dir", str(platform.data_dir), LASTRO_DATA_LOCK_SECONDS="0.2")
    assert second.returncode == 1
    assert str(platform.data_dir) in second.stderr
    assert len(second.stderr.strip().splitlines()) == 1


def test_a_port_in_use_is_named(platform: Started, tmp_path: Path) -> None:
    """A port that somebody listens on is named in one line."""
    port = str(platform.address[1])
    second = run("up", "--port", port, "--data-dir", str(tmp_path))
    assert (second.returncode, port in second.stderr) == (1, True)
    assert "data directory" not in second.stderr


def test_the_same_up_twice_names_port_and_directory(platform: Started) -> None:
    """Who starts the same platform again is told that it runs, not only that somebody has the port."""
    port = str(platform.address[1])
    second = run("up", "--port", port, "--data-dir", str(platform.data_dir))
    assert second.returncode == 1
    assert f"the data directory {platform.data_dir} is in use" in second.stderr


def test_after_a_kill_what_was_answered_is_there_and_what_was_under_way_is_finished(tmp_path: Path) -> None:
    """A kill -9 behind a payment's answer loses nothing: the next start has the payment and settles it."""
    data_dir = tmp_path / "data"
    option = ("--data-dir", str(data_dir))
    with started(data_dir) as platform:
        user = json.loads(run("request", "POST", "/v1/users", "-d", _user(), *option).stdout)["id"]
        account = {"owner_id": user, "currency": "BRL", "overdraft_limit": 1000}
        payer, payee = (
            json.loads(run("request", "POST", "/v1/accounts", "-d", json.dumps(account), *option).stdout)["id"]
            for _ in range(2)
        )
        payment = {
            "amount": {"value": 100, "currency": "BRL"},
            "method": "internal",
            "payer_account_id": payer,
            "payee_account_id": payee,
        }
        made = json.loads(run("request", "POST", "/v1/payments", "-d", json.dumps(payment), *option).stdout)
        platform.process.kill()
        platform.process.wait()
    with started(data_dir) as again:
        path = f"/v1/payments/{made['id']}"
        deadline = time.monotonic() + PATIENCE_SECONDS
        status = ""
        while status != "settled" and time.monotonic() < deadline:
            status = json.loads(run("request", "GET", path, *option).stdout)["status"]
        assert status == "settled"
        assert again.stop() == 0


def test_a_head_without_end_is_cut_off(platform: Started) -> None:
    """A request's head is bounded: somewhere beyond it 431 and the end of the connection, whatever else is sent."""
    with socket.create_connection(platform.address, timeout=PATIENCE_SECONDS) as connection:
        with suppress(ConnectionError):
            connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n")
            for _ in range(1000):
                connection.sendall(b"x-filler: " + b"x" * 1000 + b"\r\n")
        with suppress(ConnectionError):
            assert connection.recv(65536).startswith(b"HTTP/1.1 431")
            assert connection.recv(65536) == b""


def test_a_body_is_not_taken_for_the_next_head(platform: Started) -> None:
    """A large body with the beginning of the next request behind it in one piece is no large head."""
    body = b"x" * (MAX_HEADER_BYTES + 1000)
    first = b"POST /v1/none HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body)
    with socket.create_connection(platform.address, timeout=PATIENCE_SECONDS) as connection:
        connection.sendall(first + body + b"GET /healthz HTTP/1.1\r\nhost: x\r\n")
        time.sleep(0.05)
        connection.sendall(b"\r\n")
        answer = b""
        while not answer.endswith(b'{"status":"alive"}'):
            received = connection.recv(65536)
            assert received, answer
            answer += received
        assert answer.startswith(b"HTTP/1.1 404")


def test_several_requests_share_a_connection(platform: Started) -> None:
    """The bound is on one head: a connection that is kept carries any number of requests."""
    request = b"GET /healthz HTTP/1.1\r\nhost: x\r\nx-filler: " + b"x" * 20_000 + b"\r\n\r\n"
    with socket.create_connection(platform.address, timeout=PATIENCE_SECONDS) as connection:
        for _ in range(5):
            connection.sendall(request)
            answer = b""
            while not answer.endswith(b'{"status":"alive"}'):
                received = connection.recv(65536)
                assert received, answer
                answer += received
            assert answer.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(("name", "value"), [("LASTRO_SAGA_ATTEMPTS", "many"), ("LASTRO_DOCUMENTS", "mongodb://x")])
def test_a_setting_that_cannot_be_followed_is_named(tmp_path: Path, name: str, value: str) -> None:
    """A setting that is no number, or a server without an adapter, is one line that names the variable."""
    ended = run("up", "--port", "0", "--data-dir", str(tmp_path), **{name: value})
    assert ended.returncode == 1
    assert name in ended.stderr
    assert "Traceback" not in ended.stderr


def _user() -> str:
    return json.dumps(
        {
            "kind": "customer",
            "name": "Ana",
            "document": {"type": "cpf", "number": "52998224725"},
            "email": "ana@example.com",
        }
    )
