"""Servers end when their users or supervisors do. The tests use Redis because it starts quickly."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
import redis

from tests.processes import bound
from tests.servers.redis_server import RedisServer
from tests.servers.supervision import ROOT, down, running, up, using, wait_until_ended
from tests.signals import STOPPING_SIGNALS
from tests.waiting import PATIENCE_SECONDS

pytestmark = pytest.mark.real
SERVER: Final = RedisServer()
USER: Final = """
import sys
from pathlib import Path
from tests.servers.redis_server import RedisServer
from tests.servers.supervision import up, using
with using(RedisServer.name, Path(sys.argv[1])):
    print(up(RedisServer(), Path(sys.argv[1]), while_used=True), flush=True)
    sys.stdin.read()
"""
WAITING: Final = """
import time
from tests.processes import clean_up_when_terminated
def test_waits(redis_url):
    clean_up_when_terminated()
    print(f"\\nURL {redis_url}", flush=True)
    while True:  # a signal just before signal.pause() would be missed
        time.sleep(0.05)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder for servers, which are stopped after the test."""
    yield tmp_path
    down(SERVER.name, tmp_path)


def eventually(condition: Callable[[], bool]) -> bool:
    """Wait for the condition to become true. Return whether it did."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def answers(url: str) -> bool:
    with redis.Redis.from_url(url) as client:
        try:
            return bool(client.ping())
        except redis.ConnectionError:
            return False


def pid(folder: Path, of: str = "redis") -> int:
    return int((folder / "redis" / f"{of}.pid").read_text())


def test_up_twice_is_one_server(folder: Path) -> None:
    """The second `up` returns the URL of the running server."""
    url = up(SERVER, folder)
    first = pid(folder)
    assert up(SERVER, folder) == url == running(SERVER.name, folder)
    assert pid(folder) == first
    assert answers(url)


def test_down_leaves_only_the_logs(folder: Path) -> None:
    """`down` ends the server and removes its data, and does nothing if no server runs."""
    url = up(SERVER, folder)
    server = pid(folder)
    assert down(SERVER.name, folder)
    assert not down(SERVER.name, folder)
    assert not answers(url)
    assert running(SERVER.name, folder) is None
    assert not Path(f"/proc/{server}").exists()
    assert {path.name for path in (folder / "redis").iterdir() if path.suffix != ".lock"} == {
        "redis.log",
        "supervisor.log",
        "users",
    }


def test_a_server_ends_with_its_supervisor(folder: Path) -> None:
    """SIGKILL to the supervisor ends the server, and `up` starts a new one."""
    url = up(SERVER, folder)
    os.kill(pid(folder, "supervisor"), signal.SIGKILL)
    assert eventually(lambda: not answers(url))
    assert running(SERVER.name, folder) is None
    assert answers(up(SERVER, folder))


def test_a_supervisor_ends_with_its_server(folder: Path) -> None:
    """A server that has died is not reported as running, and `up` starts a new one."""
    up(SERVER, folder)
    os.kill(pid(folder), signal.SIGKILL)
    assert wait_until_ended(SERVER.name, folder)
    assert "redis ended" in (folder / "redis" / "failure").read_text()
    assert answers(up(SERVER, folder))


@pytest.mark.parametrize("number", [signal.SIGKILL, *STOPPING_SIGNALS])
def test_a_server_ends_when_its_last_user_does(folder: Path, number: signal.Signals) -> None:
    """A server that runs while it is used ends with its last user, even if the user is killed."""
    command = bound([sys.executable, "-c", USER, str(folder)])
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        with using(SERVER.name, folder):
            process.send_signal(number)
            process.wait(PATIENCE_SECONDS)
            assert answers(url)
        assert wait_until_ended(SERVER.name, folder)
    assert not answers(url)


@pytest.mark.parametrize("number", STOPPING_SIGNALS)
def test_an_interrupted_run_of_pytest_leaves_no_server(tmp_path: Path, number: signal.Signals) -> None:
    """On SIGINT or SIGTERM, pytest ends the servers that the run has started before it exits."""
    (tmp_path / "test_waiting.py").write_text(WAITING)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-p", "tests.servers.fixtures", "-m", "real", "--rootdir", str(tmp_path)]
    with subprocess.Popen(
        bound([*command, "-c", str(tmp_path / "pytest.ini"), "-s", str(tmp_path)]),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        url = next(line.split()[1] for line in process.stdout if line.startswith("URL "))
        assert answers(url)
        process.send_signal(number)
        process.stdout.read()
    assert process.returncode == pytest.ExitCode.INTERRUPTED
    assert not answers(url)
