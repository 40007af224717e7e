"""`lastro up` as a process: start, signals, refused starts, and kills."""

from __future__ import annotations

import json
import signal
import socket
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.cli.started import Started, run, started
from tests.waiting import PATIENCE_SECONDS


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_ends_with_0(tmp_path: Path, number: int) -> None:
    """SIGTERM and Ctrl-C end the process with 0, also while a client keeps its connection."""
    with started(tmp_path / "data", fresh=True) as platform, socket.create_connection(platform.address) as idle:
        idle.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        assert idle.recv(65536).startswith(b"HTTP/1.1 200")
        assert platform.stop(number) == 0


def test_folders_with_our_packages_names_are_ignored(tmp_path: Path) -> None:
    """Started in a folder with packages of the same names, the platform and its writer import their own packages."""
    for name in ("cli", "embedded", "shared"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('foreign')\n")
    with started(tmp_path / "data", cwd=tmp_path, fresh=True) as platform:
        assert platform.stop() == 0


def test_a_second_up_on_the_same_directory_is_refused(platform: Started) -> None:
    """A second platform on a data directory ends with 1 and one line that names the directory."""
    second = run("up", "--port", "0", "--data-dir", str(platform.data_dir), LASTRO_DATA_LOCK_SECONDS="0.2")
    assert second.returncode == 1
    assert str(platform.data_dir) in second.stderr
    assert len(second.stderr.strip().splitlines()) == 1


def test_a_file_in_place_of_the_data_directory_is_refused_with_a_remedy(tmp_path: Path) -> None:
    """A data directory that is a file, or in a file, and a database that is a directory end the start with 1 and one
    line that says what to do."""
    (tmp_path / "file").write_text("")
    (tmp_path / "data" / "lastro.db").mkdir(parents=True)
    for path, reason in (
        (tmp_path / "file", f"{tmp_path / 'file'}: this is not a directory; set LASTRO_DATA_DIR (or --data-dir)"),
        (tmp_path / "file" / "x", "this is not a directory; set LASTRO_DATA_DIR (or --data-dir)"),
        (tmp_path / "data", "lastro.db is a directory and not a database: move it away, or set LASTRO_DATA_DIR"),
    ):
        ended = run("up", "--port", "0", "--data-dir", str(path))
        assert ended.returncode == 1
        (line,) = ended.stderr.strip().splitlines()
        assert reason in line


def test_an_armed_crash_point_is_logged(tmp_path: Path) -> None:
    """A process that a test has told to kill itself says so at its start."""
    (tmp_path / "file").write_text("")  # it cannot start
    armed = run("up", "--port", "0", "--data-dir", str(tmp_path / "file"), LASTRO_CRASH_AT="store.decided")
    assert "LASTRO_CRASH_AT=store.decided is set: this process kills itself there" in armed.stderr


def test_a_port_in_use_is_named(platform: Started, tmp_path: Path) -> None:
    """A port in use is an error of one line that names the port."""
    port = str(platform.address[1])
    second = run("up", "--port", port, "--data-dir", str(tmp_path))
    assert (second.returncode, port in second.stderr) == (1, True)
    assert "data directory" not in second.stderr


def test_the_same_up_twice_names_port_and_directory(platform: Started) -> None:
    """A second start of the same platform reports that it already runs, and not only that the port is in use."""
    port = str(platform.address[1])
    second = run("up", "--port", port, "--data-dir", str(platform.data_dir))
    assert second.returncode == 1
    assert f"the data directory {platform.data_dir} is in use" in second.stderr


def test_after_a_kill_payments_with_a_response_are_settled(tmp_path: Path) -> None:
    """After a kill -9 that follows the response to a payment, the next start has the payment and settles it."""
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


def test_silent_connections_do_not_stop_it(tmp_path: Path) -> None:
    """With at most 256 open files and 300 silent clients, another client is served, and the log has the reason."""
    errors = tmp_path / "errors"
    with started(tmp_path / "data", files=256, errors=errors) as platform, ExitStack() as silent:
        for _ in range(300):
            silent.enter_context(socket.create_connection(platform.address, timeout=PATIENCE_SECONDS))
        with socket.create_connection(platform.address, timeout=PATIENCE_SECONDS) as client:
            client.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            assert client.recv(65536).startswith(b"HTTP/1.1 200")
        assert platform.stop() == 0
    output = errors.read_text()
    assert "this process can open only 256 files" in output
    assert output.count("connections are in use") == 1


def test_an_incomplete_request_is_refused(tmp_path: Path) -> None:
    """A client that sends only half of a head is answered with a refusal at the deadline and disconnected."""
    with (
        started(tmp_path / "data", settings={"LASTRO_HEAD_SECONDS": "1"}) as platform,
        socket.create_connection(platform.address, timeout=PATIENCE_SECONDS) as client,
    ):
        client.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n")
        answer = b""
        while received := client.recv(65536):
            answer += received
        assert answer.startswith(b"HTTP/1.1 400")
        assert b"The head of the request was not complete after 1 seconds" in answer


def test_a_request_in_progress_is_finished(tmp_path: Path) -> None:
    """A request that is arriving when the signal comes is read completely and answered, and the exit code is 0."""
    with (
        started(tmp_path / "data") as platform,
        socket.create_connection(platform.address, timeout=PATIENCE_SECONDS) as idle,
        socket.create_connection(platform.address, timeout=PATIENCE_SECONDS) as client,
    ):
        client.sendall(b"POST /v1/none HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n")
        assert client.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        platform.process.send_signal(signal.SIGTERM)
        assert idle.recv(65536) == b""
        client.sendall(b"{}")
        answer = client.recv(65536)
        assert answer.startswith(b"HTTP/1.1 404")
        assert b"connection: close" in answer
        client.close()
        assert platform.process.wait(PATIENCE_SECONDS) == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LASTRO_SAGA_ATTEMPTS", "many"),
        ("LASTRO_DOCUMENTS", "mysql://x"),
        ("LASTRO_MAX_CONNECTIONS", "0"),
        ("LASTRO_HEAD_SECONDS", "-1"),
    ],
)
def test_an_invalid_setting_is_named(tmp_path: Path, name: str, value: str) -> None:
    """An invalid number, or a server without an adapter, is reported in one line with the variable."""
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
