"""Processes that end with the tests, however the tests end, and processes that slow this machine down."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from types import FrameType

SLOW = "LASTRO_TEST_SLOW"
"""The environment variable with the number of busy processes that run while the tests run."""

_SETPRIV = shutil.which("setpriv") if sys.platform == "linux" else None
_BUSY = """
import os, sys
while os.getppid() == int(sys.argv[1]):
    for _ in range(1_000_000):
        pass
"""


def bound(command: Sequence[str]) -> list[str]:
    """Return the command, changed so that the kernel kills its process when the thread that started it ends, also by
    `kill -9`.

    The process id is that of the command itself. Where setpriv (util-linux) is missing, the command is returned
    unchanged: the test's own clean-up then ends the process after SIGINT and SIGTERM, but not after `kill -9`.
    """
    return list(command) if _SETPRIV is None else [_SETPRIV, "--pdeathsig", "KILL", "--", *command]


def clean_up_when_terminated() -> None:
    """Make SIGTERM end the tests as Ctrl-C does: `finally` clauses run and fixtures end.

    A second SIGTERM is ignored, so that it does not interrupt the clean-up.
    """
    signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def requested_slowness(environment: Mapping[str, str]) -> int:
    """Return the number of busy processes in LASTRO_TEST_SLOW, 0 without the variable. Raises ValueError when it is not
    a number."""
    text = environment.get(SLOW, "0")
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{SLOW} is the number of busy processes to run beside the tests, such as 8, and not {text!r}")
    return int(text)


@contextlib.contextmanager
def slowed(count: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Run `count` busy processes. They end with the context, and when this process ends."""
    command = [sys.executable, "-I", "-S", "-c", _BUSY, str(os.getpid())]
    with contextlib.ExitStack() as ending:
        started = []
        for _ in range(count):
            process = ending.enter_context(subprocess.Popen(command, stdin=subprocess.DEVNULL))
            ending.callback(process.kill)
            started.append(process)
        yield started
