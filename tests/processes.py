"""Processes that end with the tests, however the tests end, and processes that make this machine slow."""

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
"""Names the variable of the environment that says how many busy processes run beside the tests."""

_SETPRIV = shutil.which("setpriv") if sys.platform == "linux" else None
_BUSY = """
import os, sys
while os.getppid() == int(sys.argv[1]):
    for _ in range(1_000_000):
        pass
"""


def bound(command: Sequence[str]) -> list[str]:
    """The command, such that the kernel kills its process when the thread that starts it ends, by `kill -9` too.

    The process id stays the command's own. Where setpriv (util-linux) is missing, the command is returned as it is:
    there a test's own cleaning up ends the process, which SIGINT and SIGTERM reach and `kill -9` does not.
    """
    return list(command) if _SETPRIV is None else [_SETPRIV, "--pdeathsig", "KILL", "--", *command]


def clean_up_when_terminated() -> None:
    """Make SIGTERM end the tests as Ctrl-C does: what is under way is left by its `finally`, and fixtures end.

    A second one does not disturb that: `kill -9` is for those who cannot wait.
    """
    signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def wanted_slowness(environment: Mapping[str, str]) -> int:
    """How many busy processes LASTRO_TEST_SLOW asks for, none if it is not set. Raises ValueError if it is no count."""
    text = environment.get(SLOW, "0")
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{SLOW} is the number of busy processes to run beside the tests, such as 8, and not {text!r}")
    return int(text)


@contextlib.contextmanager
def slowed(count: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """So many processes that do nothing as fast as they can. They end with the context, and when this process ends."""
    command = [sys.executable, "-I", "-S", "-c", _BUSY, str(os.getpid())]
    with contextlib.ExitStack() as ending:
        started = []
        for _ in range(count):
            process = ending.enter_context(subprocess.Popen(command, stdin=subprocess.DEVNULL))
            ending.callback(process.kill)
            started.append(process)
        yield started
