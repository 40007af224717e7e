"""`lastro test`: the tests, from anywhere."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from cli.output import print_json


def run_tests(
    context: typer.Context,
    *,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the outcome as JSON; pytest's own goes to stderr.")
    ] = False,
) -> None:
    """Run the tests. Further arguments go to pytest."""
    from embedded.platform.platform import ROOT

    # A separate process, so that pytest applies the tests' settings (warnings as errors, timeouts) from the start.
    arguments = [sys.executable, "-P", "-m", "pytest", *_on_every_core(context.args), *context.args]
    if not as_json:
        # pytest replaces this process: a signal to `lastro test` reaches pytest, which ends the processes of its tests.
        os.chdir(ROOT)
        os.execve(sys.executable, arguments, _environment())  # noqa: S606 - this very interpreter
    code = _run_pytest(arguments, ROOT)
    print_json({"exit_code": code, "passed": code == 0})
    raise typer.Exit(code)


def _run_pytest(arguments: list[str], root: Path) -> int:
    """Run pytest with its output on stderr, and return its exit code. Signals that would end this process are passed on
    to it."""
    # In its own process group, so that it gets Ctrl-C only from this process.
    process = subprocess.Popen(arguments, cwd=root, env=_environment(), stdout=sys.stderr, process_group=0)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, _: process.send_signal(received))
    return process.wait()


def _environment() -> dict[str, str]:
    """Return this process's environment, without the variable that keeps Python from storing bytecode: each worker, and
    each process that a test starts, would compile every module again."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def _on_every_core(arguments: list[str]) -> list[str]:
    """Return the arguments that distribute the tests over all cores; none with -s, --pdb or a choice of the user's.

    All tests of a file run in one process, because many share an expensive fixture.
    """
    if any(argument.startswith(("-n", "--numprocesses", "--pdb", "-s", "--capture=no")) for argument in arguments):
        return []
    # The tests run in the order of collection, which begins with the slow files. In an order by number of tests, the
    # few slow ones would be last.
    return ["--numprocesses", "auto", "--dist", "loadfile", "--no-loadscope-reorder"]
