"""Counts the machine instructions of running processes with valgrind's callgrind, which is started and stopped from
outside."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Final

PROGRAMS: Final = ("valgrind", "vgdb")
_COMMAND_SECONDS: Final = 120


class ProgramsMissing(Exception):
    """valgrind is not installed. The message says how to install it."""


def require_programs() -> None:
    """Raise ProgramsMissing when valgrind or its client is not in PATH."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        raise ProgramsMissing(
            f"not found in PATH: {' and '.join(missing)}. Install valgrind (Debian: apt-get install valgrind), "
            "or count calls without instructions: --calls-only"
        )


class Callgrind:
    """Measures the processes that `command` starts. Their counts are written to files in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._dumps = 0

    def command(self) -> list[str]:
        """Return the words that precede the command to measure. Processes that it starts are measured too. Counting
        starts with `begin`."""
        return [
            "valgrind",
            "--tool=callgrind",
            "--instr-atstart=no",
            "--trace-children=yes",
            f"--callgrind-out-file={self._folder}/callgrind.%p",
        ]

    def begin(self, pids: list[int]) -> None:
        """Start to count the instructions of these processes."""
        for pid in pids:
            _send_command(pid, "instrumentation on")

    def end(self, pids: list[int]) -> list[int]:
        """Stop, and return the number of instructions that each process executed since `begin`, without those of the
        kernel.

        Raises RuntimeError when vgdb cannot reach a process.
        """
        for pid in pids:
            _send_command(pid, "instrumentation off")
        self._dumps += 1
        for pid in pids:
            _send_command(pid, "dump")  # this also resets the count to zero
        return [total((self._folder / f"callgrind.{pid}.{self._dumps}").read_text()) for pid in pids]


def total(dump: str) -> int:
    """Return the sum of all instructions in a callgrind dump. Raises ValueError when the dump is not complete."""
    for line in reversed(dump.splitlines()):
        if line.startswith("totals:"):
            return int(line.removeprefix("totals:"))
    raise ValueError("the callgrind dump is not complete: no line begins with totals:")


def _send_command(pid: int, command: str) -> None:
    done = subprocess.run(
        ["vgdb", f"--pid={pid}", *command.split()],
        capture_output=True,
        text=True,
        timeout=_COMMAND_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"vgdb could not send {command!r} to process {pid}: {done.stdout}{done.stderr}")
