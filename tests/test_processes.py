"""Processes that tests start end with the tests, and a machine can be slowed down."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import bound, requested_slowness, slowed

ROOT = Path(__file__).parents[1]
NO_SETPRIV = not (sys.platform == "linux" and shutil.which("setpriv"))


def starter(code: str) -> subprocess.Popen[str]:
    """Return the command of an interpreter that imports `tests.processes` and runs this code."""
    command = [sys.executable, "-c", f"from tests.processes import *\nimport signal, subprocess, sys\n{code}"]
    return subprocess.Popen(bound(command), cwd=ROOT, stdout=subprocess.PIPE, text=True)


@pytest.mark.skipif(NO_SETPRIV, reason="this system cannot bind one process's life to another's")
def test_a_bound_process_ends_when_its_starter_is_killed() -> None:
    """The kernel ends a bound process when `kill -9` ends the process that started it."""
    child = "import time; print('here', flush=True); time.sleep(3600)"
    with starter(f"subprocess.run(bound([sys.executable, '-c', {child!r}]))") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        process.kill()
        # The child holds the other end of the pipe, which closes when the child ends.
        assert process.stdout.read() == ""


def test_a_bound_process_keeps_its_id() -> None:
    """The process id that the starter sees is that of the command."""
    command = [sys.executable, "-c", "import os; print(os.getpid())"]
    with subprocess.Popen(bound(command), stdout=subprocess.PIPE, text=True) as process:
        output, _ = process.communicate()
    assert int(output) == process.pid


def test_sigterm_runs_finally_clauses() -> None:
    """SIGTERM ends the tests through their `finally` clauses; a second one does not interrupt them."""
    code = """
clean_up_when_terminated()
try:
    print("here", flush=True)
    import time
    while True:  # a signal just before signal.pause() would be missed
        time.sleep(0.05)
except KeyboardInterrupt:
    signal.raise_signal(signal.SIGTERM)
    print("cleaned up")
"""
    with starter(code) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        process.terminate()
        assert process.stdout.read() == "cleaned up\n"
    assert process.returncode == 0


def test_busy_processes_run_until_the_context_ends() -> None:
    """The requested number of busy processes runs inside the context, and none after it."""
    with slowed(2) as busy:
        assert [process.poll() for process in busy] == [None, None]
    assert [process.returncode for process in busy] == [-signal.SIGKILL] * 2


def test_busy_processes_end_when_the_tests_are_killed() -> None:
    """After `kill -9` of the tests no busy process runs."""
    with starter("with slowed(1):\n    print('here', flush=True)\n    signal.pause()") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        process.kill()
        assert process.stdout.read() == ""


@pytest.mark.parametrize(("value", "count"), [(None, 0), ("0", 0), ("8", 8)])
def test_slowness_is_a_number(value: str | None, count: int) -> None:
    """LASTRO_TEST_SLOW is the number of busy processes; without it there are none."""
    assert requested_slowness({} if value is None else {"LASTRO_TEST_SLOW": value}) == count


@pytest.mark.parametrize("value", ["", "-1", "1.5", "yes", "²"])
def test_a_slowness_that_is_not_a_number_is_refused(value: str) -> None:
    """Any other value of LASTRO_TEST_SLOW is refused with an error that names the variable."""
    with pytest.raises(ValueError, match="LASTRO_TEST_SLOW is the number of busy processes"):
        requested_slowness({"LASTRO_TEST_SLOW": value})


def test_pytest_reports_an_invalid_slowness() -> None:
    """An invalid LASTRO_TEST_SLOW is a usage error of pytest, in one line."""
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-n0", "-p", "no:schemathesis", "tests/test_locks.py"],
        cwd=ROOT,
        env={**os.environ, "LASTRO_TEST_SLOW": "very"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == pytest.ExitCode.USAGE_ERROR
    assert "to run beside the tests, such as 8, and not 'very'" in ended.stderr
