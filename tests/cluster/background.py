"""Processes that outlive the command that has started them, the node and its stores: each holds a lock to its end."""

from __future__ import annotations

import fcntl
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from deployment.commands import ROOT

_CHILDREN: Final[dict[Path, subprocess.Popen[bytes]]] = {}
"""Those that this process has started, by the lock: they are waited for when they end before it."""


def launch(command: Sequence[str], *, log: Path, lock: Path) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own, which writes to `log` and holds `lock`. Raises BlockingIOError when
    another one holds it."""
    with log.open("ab") as output, lock.open("a") as held:
        # The process inherits the lock, and its programs do not.
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            pass_fds=[held.fileno()],
        )
    _CHILDREN[lock] = process
    return process


def reap(lock: Path, seconds: float) -> None:
    """Wait for the end of the process that held this lock, if this process has started it. Raises TimeoutExpired."""
    process = _CHILDREN.pop(lock, None)
    if process is not None:
        process.wait(seconds)
