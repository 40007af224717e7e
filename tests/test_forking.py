"""Processes that begin as copies of one that has imported what they need."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.forking import Forked, ForkServer
from tests.processes import bound
from tests.waiting import PATIENCE_SECONDS

ROOT = Path(__file__).parents[1]
ENV = {"ONLY": "this"}
WAIT = "import signal; print('here', flush=True); signal.pause()"


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    """A server that has imported a module of the standard library."""
    started = ForkServer("colorsys")
    yield started
    started.close()


def waiting(server: ForkServer) -> Forked:
    """A copy that waits for a signal."""
    # timeit runs its argument.
    process = server.start("timeit", "-n1", "-r1", WAIT, cwd=ROOT, env=ENV, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == "here\n"
    return process


def test_a_copy_runs_a_module_as_python_does(server: ForkServer, tmp_path: Path) -> None:
    """A copy has its own arguments, folder, environment and output, and the modules of the server."""
    code = "import os, sys; print(os.getcwd(), dict(os.environ), 'colorsys' in sys.modules, __name__)"
    ended = server.run("timeit", "-n1", "-r1", code, cwd=tmp_path, env=ENV)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines()[0] == f"{tmp_path} {ENV} True __main__"


def test_a_copy_that_fails_writes_its_traceback(server: ForkServer) -> None:
    """An exception that a copy does not catch is on standard error, and the exit code is 1."""
    ended = server.run("tests.nowhere", cwd=ROOT, env=ENV)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.splitlines()[-1].endswith("No module named tests.nowhere")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_ends_a_copy(server: ForkServer, number: signal.Signals) -> None:
    """The exit code of a copy that a signal has ended is the signal's negative number, as for any process."""
    with waiting(server) as process:
        assert process.poll() is None
        process.send_signal(number)
        assert process.wait(PATIENCE_SECONDS) == -number
        process.kill()
    assert process.returncode == -number


def test_ctrl_c_interrupts_a_copy(server: ForkServer) -> None:
    """SIGINT raises KeyboardInterrupt in a copy, and the server goes on."""
    with waiting(server) as process:
        os.kill(server.pid, signal.SIGINT)
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_SECONDS) in (1, -signal.SIGINT)
    assert server.run("timeit", "-n1", "-r1", "1", cwd=ROOT, env=ENV).returncode == 0


def test_waiting_has_an_end(server: ForkServer) -> None:
    """Waiting raises TimeoutExpired while the copy runs."""
    with waiting(server) as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0)
        process.kill()


def test_copies_end_when_the_tests_are_killed() -> None:
    """A kill -9 of the tests ends the server and its copies."""
    code = f"""
from pathlib import Path
from tests.forking import ForkServer
import signal
process = ForkServer().start("timeit", "-n1", "-r1", {WAIT!r}, cwd=Path("/"), env={{}})
signal.pause()
"""
    command = bound([sys.executable, "-c", code])
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        assert starter.stdout.readline() == "here\n"
        starter.kill()
        # The copy holds the other end of the pipe: it ends when the copy does.
        assert starter.stdout.read() == ""


def test_a_server_that_cannot_start_says_why() -> None:
    """The error of a module that cannot be imported is in the AssertionError."""
    with pytest.raises(AssertionError, match="No module named 'nowhere'"):
        ForkServer("nowhere")
