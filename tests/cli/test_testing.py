"""`lastro test`: pytest and signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.cli.started import ROOT, command, environment
from tests.processes import bound
from tests.signals import STOPPING_SIGNALS

PLUGIN = """
import os, sys, time

def pytest_sessionstart(session):
    print("bytecode is stored:", not sys.dont_write_bytecode, file=sys.stderr, flush=True)
    print("pid", os.getpid(), file=sys.stderr, flush=True)
    # Not signal.pause(): a signal that comes just before it is called would not end it.
    while True:
        time.sleep(0.05)
"""


def lastro_test(folder: Path, *options: str, **variables: str) -> subprocess.Popen[str]:
    """Start `lastro test` with a plugin that prints pytest's process id and waits for a signal."""
    (folder / "waiting_plugin.py").write_text(PLUGIN)
    return subprocess.Popen(
        bound(
            command(
                "test",
                *options,
                "-q",
                "-n0",
                "-p",
                "no:schemathesis",
                "-p",
                "waiting_plugin",
                "tests/shared/core/test_version.py",
            )
        ),
        cwd=folder,
        env={**environment(), "PYTHONPATH": os.pathsep.join((str(folder), str(ROOT))), **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def pid_of_pytest(process: subprocess.Popen[str]) -> int:
    assert process.stderr is not None
    return int(next(line for line in process.stderr if line.startswith("pid ")).split()[1])


@pytest.mark.parametrize("number", STOPPING_SIGNALS)
def test_a_signal_reaches_pytest(tmp_path: Path, number: signal.Signals) -> None:
    """Pytest replaces the process of `lastro test`, so that a signal reaches it and its tests clean up."""
    with lastro_test(tmp_path) as process:
        assert pid_of_pytest(process) == process.pid
        process.send_signal(number)
        process.communicate()
    assert process.returncode == pytest.ExitCode.INTERRUPTED


@pytest.mark.parametrize("number", STOPPING_SIGNALS)
def test_a_signal_is_passed_on_with_json(tmp_path: Path, number: signal.Signals) -> None:
    """With --json pytest runs as a child of `lastro test`, which passes signals on and still prints the outcome."""
    with lastro_test(tmp_path, "--json") as process:
        assert pid_of_pytest(process) != process.pid
        process.send_signal(number)
        output, _ = process.communicate()
    assert json.loads(output) == {"exit_code": int(pytest.ExitCode.INTERRUPTED), "passed": False}
    assert process.returncode == pytest.ExitCode.INTERRUPTED


@pytest.mark.parametrize("options", [(), ("--json",)], ids=["replaced", "child"])
def test_bytecode_is_stored(tmp_path: Path, options: tuple[str, ...]) -> None:
    """Pytest stores bytecode also where the environment forbids it, so that the workers and processes of the tests do
    not compile every module again."""
    with lastro_test(tmp_path, *options, PYTHONDONTWRITEBYTECODE="1") as process:
        assert process.stderr is not None
        stored = next(line for line in process.stderr if line.startswith("bytecode is stored: "))
        process.terminate()
        process.communicate()
    assert stored == "bytecode is stored: True\n"
