"""`lastro test`: the tests, from anywhere."""

from __future__ import annotations

import subprocess
import sys
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
    finished = subprocess.run(arguments, cwd=ROOT, stdout=sys.stderr if as_json else None, check=False)
    if as_json:
        print_json({"exit_code": finished.returncode, "passed": finished.returncode == 0})
    raise typer.Exit(finished.returncode)


def _on_every_core(arguments: list[str]) -> list[str]:
    """A file's tests stay together: many share what is dear to start. Whoever wants to see or debug runs in one."""
    if any(argument.startswith(("-n", "--numprocesses", "--pdb", "-s", "--capture=no")) for argument in arguments):
        return []
    # In the order of collection, which begins with the slow files: by number of tests the few slow ones come last.
    return ["--numprocesses", "auto", "--dist", "loadfile", "--no-loadscope-reorder"]
