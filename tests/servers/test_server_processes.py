"""The processes of a server, with small programs instead of servers."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from tests.servers.installing import Unavailable
from tests.servers.processes import Processes, free_port

SAYS_AND_WAITS = [sys.executable, "-c", "import time; print('here I am', flush=True); time.sleep(3600)"]


def test_a_killed_process_is_started_again(processes: Processes) -> None:
    """A process can be killed and started again with the same command, and its log is continued."""
    processes.start("server", SAYS_AND_WAITS)
    processes.wait_until_it_says("server", "here I am")
    processes.kill("server")
    assert processes.ended() == ["server"]
    processes.start_again("server")
    processes.wait_until_it_says("server", "here I am")
    assert processes.ended() == []
    assert processes.log("server").read_text() == "here I am\nhere I am\n"


def test_a_process_that_ends_is_not_waited_for(processes: Processes) -> None:
    """Waiting for an answer stops when the process ends, and the error has its exit code and its last output."""
    processes.start("server", [sys.executable, "-c", "import sys; sys.exit('the port is taken')"])
    with pytest.raises(Unavailable, match=r"(?s)the server: server ended with 1.*the port is taken"):
        processes.wait_until(lambda: 1 / 0, "the server")


def test_a_process_that_does_not_answer_in_time(processes: Processes) -> None:
    """The error for a server that never answers has the result of the last attempt."""
    processes.start("server", SAYS_AND_WAITS)
    with pytest.raises(Unavailable, match=r"the server did not answer within 0 s; last: ZeroDivisionError"):
        processes.wait_until(lambda: 1 / 0, "the server", seconds=0)


def test_a_command_that_fails(processes: Processes) -> None:
    """If a command that prepares a server fails, the error has its output."""
    with pytest.raises(Unavailable, match=r"(?s)ended with 3.*no space"):
        processes.run("format", [sys.executable, "-c", "print('no space'); raise SystemExit(3)"])


def test_stopping_ends_all_and_leaves_the_logs(tmp_path: Path) -> None:
    """`stop` ends all processes, runs the registered clean-up functions in reverse order, and removes the data."""
    processes = Processes(tmp_path)
    (processes.data / "table").touch()
    done: list[str] = []
    processes.at_end(lambda: done.append("first"))
    processes.at_end(lambda: done.append(f"last, {len(list(tmp_path.glob('*.pid')))} run"))
    processes.start("one", SAYS_AND_WAITS)
    processes.start("two", SAYS_AND_WAITS)
    processes.stop()
    assert done == ["last, 0 run", "first"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.log", "two.log"]


def test_a_server_that_starts_finds_no_old_data(tmp_path: Path) -> None:
    """Data that a killed run has left in the folder are removed before the next start."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "old").touch()
    assert list(Processes(tmp_path).data.iterdir()) == []


def test_a_free_port_is_free() -> None:
    """A free port that was returned can be listened on."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", free_port()))
        server.listen()
