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

    # Its own process: the tests' settings (warnings as errors, timeouts) are pytest's to set from the start.
    arguments = [sys.executable, "-P", "-m", "pytest", *_on_every_core(context.args), *context.args]
    if not as_json:
        # In the place of this one: whoever stops `lastro test` stops pytest, which ends what its tests have started.
        os.chdir(ROOT)
        os.execv(sys.executable, arguments)  # noqa: S606 - this very interpreter
    code = _run_beside(arguments, ROOT)
    print_json({"exit_code": code, "passed": code == 0})
    raise typer.Exit(code)


def _run_beside(arguments: list[str], root: Path) -> int:
    """Run pytest, which prints to stderr; signals that would end this process go to it. Returns its exit code."""
    # In a group of its own, so that a terminal's Ctrl-C reaches it once: from here.
    process = subprocess.Popen(arguments, cwd=root, stdout=sys.stderr, process_group=0)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, _: process.send_signal(received))
    return process.wait()


def _on_every_core(arguments: list[str]) -> list[str]:
    """A file's tests stay together: many share what is dear to start. Whoever wants to see or debug runs in one."""
    if any(argument.startswith(("-n", "--numprocesses", "--pdb", "-s", "--capture=no")) for argument in arguments):
        return []
    # In the order of collection, which begins with the slow files: by number of tests the few slow ones come last.
    return ["--numprocesses", "auto", "--dist", "loadfile", "--no-loadscope-reorder"]
