"""Starts each server behind a supervisor: a process that starts the server, and stops it when nothing uses it.

A supervisor holds a lock on its server's folder while it runs, so that its process id is never confused with another
process, and the processes of the server end with it, also after `kill -9`. With `--while-used` it ends when no process
shares the folder's `users` lock: the tests of a run share the lock, and release it however they end.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Final

from tests.servers.installing import CACHE, Unavailable, exclusively, last_lines, run
from tests.servers.processes import START_SECONDS, STOP_SECONDS, Processes
from tests.servers.server import Server

ROOT: Final = Path(__file__).parents[2]
RUNNING: Final = CACHE / "running"
"""The folder of the servers that `servers:up` starts. Each server has a folder in it, with its logs."""
_POLL_SECONDS: Final = 0.2
_SIGNALS: Final = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)


class _Ended(BaseException):
    """A signal has stopped this supervisor."""


def up(server: Server, folder: Path, *, while_used: bool = False) -> str:
    """Return the URL of the server of this folder. It is started if it does not run. Raises Unavailable."""
    own = folder / server.name
    server.install()
    with exclusively(own / "up.lock"):
        url = running(server.name, folder)
        if url is not None:
            return url
        _launch(server, folder, while_used=while_used)
        deadline = time.monotonic() + 2 * START_SECONDS
        while (url := running(server.name, folder)) is None:
            if not is_held(own / "supervisor.lock"):
                raise Unavailable(_why_it_ended(own))
            if time.monotonic() > deadline:
                down(server.name, folder)
                raise Unavailable(f"{server.name} did not start\n{last_lines(own / 'supervisor.log')}")
            time.sleep(_POLL_SECONDS)
        return url


def running(name: str, folder: Path) -> str | None:
    """Return the URL of the server of this folder, or None if it does not run."""
    own = folder / name
    if not is_held(own / "supervisor.lock"):
        return None
    with contextlib.suppress(FileNotFoundError):
        return (own / "url").read_text(encoding="utf-8")
    return None


def down(name: str, folder: Path) -> bool:
    """Stop the server of this folder and wait until it has ended. Returns whether it was running."""
    own = folder / name
    if not is_held(own / "supervisor.lock"):
        return False
    pid = int((own / "supervisor.pid").read_text(encoding="ascii"))
    os.kill(pid, signal.SIGTERM)
    if not wait_until_ended(name, folder):
        os.kill(pid, signal.SIGKILL)
        wait_until_ended(name, folder)
    return True


def wait_until_ended(name: str, folder: Path) -> bool:
    """Wait until the server of this folder does not run, some minutes at most. Returns whether that is so."""
    deadline = time.monotonic() + 20 * STOP_SECONDS
    while is_held(folder / name / "supervisor.lock"):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


@contextlib.contextmanager
def using(name: str, folder: Path) -> Iterator[None]:
    """Share the `users` lock: a server that runs while it is used does not stop within this context."""
    own = folder / name
    own.mkdir(parents=True, exist_ok=True)
    with (own / "users").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield


def supervise(server: Server, folder: Path, *, while_used: bool) -> int:
    """Fork a supervisor of the server, detached from this terminal. Returns 0 when it has its lock."""
    own = folder / server.name
    own.mkdir(parents=True, exist_ok=True)
    lock = (own / "supervisor.lock").open("a")  # the child inherits it
    # `up` starts one supervisor at a time, and a process that checks the lock holds it only for a moment.
    fcntl.flock(lock, fcntl.LOCK_EX)
    pid = os.fork()
    if pid != 0:
        _write(own / "supervisor.pid", f"{pid}\n")
        return 0
    code = 70
    try:
        os.setsid()
        code = _supervise(server, own, while_used=while_used)
    except BaseException:  # noqa: BLE001 - no caller would print it
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _supervise(server: Server, own: Path, *, while_used: bool) -> int:
    """Start the server, wait until it must stop or one of its processes ends, and stop it. Returns an exit code."""
    for number in _SIGNALS:
        signal.signal(number, _end)
    with contextlib.ExitStack() as stack:
        users = stack.enter_context((own / "users").open("a"))
        processes = Processes(own)
        stack.callback(_forget, own)
        stack.callback(processes.stop)
        # From here on a signal does not interrupt the stop of the server.
        stack.callback(_ignore_signals)
        try:
            _write(own / "url", server.start(processes))
            ended = _watch(processes, users.fileno() if while_used else None)
        except _Ended:
            return 0
        except Unavailable as error:
            _write(own / "failure", str(error))
            return 1
        if ended:
            _write(own / "failure", "\n".join(f"{name} ended\n{last_lines(processes.log(name))}" for name in ended))
        return 1 if ended else 0


def _watch(processes: Processes, users: int | None) -> list[str]:
    """Wait until a process has ended, or the `users` lock is free. Returns the names of the processes that ended."""
    while True:
        ended = processes.ended()
        if ended:
            return ended
        if users is not None:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return []
        time.sleep(_POLL_SECONDS)


def _launch(server: Server, folder: Path, *, while_used: bool) -> None:
    own = folder / server.name
    for name in ("failure", "url"):
        (own / name).unlink(missing_ok=True)
    command = [sys.executable, "-m", "tests.servers", "supervise", server.name, "--folder", str(folder)]
    run([*command, "--while-used"] if while_used else command, own / "supervisor.log", cwd=ROOT)


def _why_it_ended(own: Path) -> str:
    try:
        return (own / "failure").read_text(encoding="utf-8")
    except FileNotFoundError:
        return f"the supervisor ended\n{last_lines(own / 'supervisor.log')}"


def is_held(path: Path) -> bool:
    """Return whether a process holds this lock."""
    try:
        with path.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _write(path: Path, text: str) -> None:
    """Write a file so that a reader never sees a part of it."""
    new = path.with_name(f"{path.name}.new")
    new.write_text(text, encoding="utf-8")
    new.replace(path)


def _forget(own: Path) -> None:
    for name in ("url", "supervisor.pid"):
        (own / name).unlink(missing_ok=True)


def _end(number: int, frame: FrameType | None) -> None:
    raise _Ended


def _ignore_signals() -> None:
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
