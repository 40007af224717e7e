"""Processes that start as copies of one that has imported their modules, because imports take most of a short process.

The first process, the fork server, imports the given modules and does nothing else. For each process that a test needs
it forks a copy of itself, which runs a module as `python -m` does, with its own arguments, environment, folder and
output. For the kernel it is an ordinary process: it has an id, receives signals, and `kill -9` ends it immediately. It
does not show that the interpreter finds its modules; therefore each kind of process has a test with its real command,
too.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import IO, Any, Final, Self

ROOT: Final = Path(__file__).resolve().parents[1]
_LARGEST: Final = 1 << 20


class Forked:
    """A running copy, with the methods of subprocess.Popen that tests need. It has no standard input.

    It may be used by one thread at a time.
    """

    def __init__(self, status: socket.socket, stdout: IO[str] | None, command: Sequence[str]) -> None:
        """Read the id of the copy from `status`, which has its exit code after it has ended."""
        self._status = status
        self._command = list(command)
        self._lines = status.makefile("r")
        self.stdout = stdout
        self.returncode: int | None = None
        line = self._lines.readline()
        assert line, "the fork server has ended"
        self.pid = int(line)

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code, negative for a signal. Raises TimeoutExpired after `timeout` seconds."""
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self._command, timeout or 0.0)
            line = self._lines.readline()
            assert line, "the fork server has ended"
            self.returncode = int(line)
            self._lines.close()
            self._status.close()
        return self.returncode

    def poll(self) -> int | None:
        """Return the exit code, or None while the process runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, if the process has not ended."""
        if self.poll() is None:
            # It may end in between; the system does not reuse its id so soon.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait until it has ended and close its output, as subprocess.Popen does."""
        if self.stdout is not None:
            self.stdout.close()
        self.wait()


class ForkServer:
    """The process that is copied. It ends with this one, and its copies with it, a `kill -9` included."""

    def __init__(self, *modules: str, options: Sequence[str] = (), env: Mapping[str, str] | None = None) -> None:
        """Start it with these modules imported. `options` are those of the interpreter, `env` is its environment
        meanwhile."""
        self._lock = Lock()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - `close` closes it
        self._connection, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", *options, "-m", "tests.forking", str(theirs.fileno()), *modules],
                cwd=ROOT,
                env=env,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stderr=self._errors,
            )
        self.pid = self._process.pid
        atexit.register(self.close)
        if self._connection.recv(1) != b"\n":
            self._process.wait()
            errors = self.reported().decode()
            self.close()
            raise AssertionError(errors)

    def close(self) -> None:
        """End the server, which kills the copies that still run."""
        atexit.unregister(self.close)
        self._connection.close()
        self._process.wait()
        self._errors.close()

    def reported(self) -> bytes:
        """Return what the server has written to standard error while it imported."""
        return os.pread(self._errors.fileno(), _LARGEST, 0)

    def start(
        self,
        module: str,
        *arguments: str,
        cwd: Path,
        env: Mapping[str, str],
        stdout: int | IO[Any] | None = None,
        stderr: int | IO[Any] | None = None,
    ) -> Forked:
        """Run `python -m module arguments` in a copy. `stdout` and `stderr` are files or as for subprocess.Popen."""
        request = {"module": module, "arguments": arguments, "cwd": str(cwd), "env": dict(env)}
        status, theirs = socket.socketpair()
        reader: IO[str] | None = None
        with contextlib.ExitStack() as stack:
            stack.enter_context(theirs)
            null = stack.enter_context(Path(os.devnull).open("r+b", buffering=0))
            if stdout == subprocess.PIPE:
                readable, writable = os.pipe()
                reader = os.fdopen(readable)
                stack.callback(os.close, writable)
                stdout = writable
            outputs = [_descriptor(stdout, 1, null), _descriptor(stderr, 2, null)]
            with self._lock:
                line = json.dumps(request).encode() + b"\n"
                sent = socket.send_fds(self._connection, [line], [null.fileno(), *outputs, theirs.fileno()])
                self._connection.sendall(line[sent:])
        return Forked(status, reader, [module, *arguments])

    def run(self, module: str, *arguments: str, cwd: Path, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """Run a module in a copy to its end. Return its exit code and its output."""
        with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
            process = self.start(module, *arguments, cwd=cwd, env=env, stdout=stdout, stderr=stderr)
            try:
                code = process.wait()
            finally:
                process.kill()
                process.wait()
            stdout.seek(0)
            stderr.seek(0)
            return subprocess.CompletedProcess([module, *arguments], code, stdout.read(), stderr.read())


def _descriptor(stream: int | IO[Any] | None, inherited: int, null: IO[bytes]) -> int:
    if stream is None:
        return inherited
    if stream == subprocess.DEVNULL:
        return null.fileno()
    return stream if isinstance(stream, int) else stream.fileno()


def _serve(connection: socket.socket) -> dict[str, Any]:
    """Copy this process for each request. It returns only in the copies, with the request."""
    awake, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    # Ctrl-C reaches this process as well as the tests, which end it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    running: dict[int, int] = {}
    while True:
        readable, _, _ = select.select([connection.fileno(), awake], [], [])
        if awake in readable:
            os.read(awake, 4096)
            _report(running)
        if connection.fileno() not in readable:
            continue
        line, descriptors = _received(connection)
        if not line:
            _end(running)
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            for number, descriptor in enumerate(descriptors[:3]):
                os.dup2(descriptor, number)
            for descriptor in (awake, waker, connection.detach(), *running.values(), *descriptors):
                os.close(descriptor)
            return dict(json.loads(line))
        running[pid] = descriptors.pop()
        _write(running[pid], pid)
        for descriptor in descriptors:
            os.close(descriptor)


def _received(connection: socket.socket) -> tuple[bytes, list[int]]:
    """Read one request: a line, and the descriptors of input, output, errors and status. Empty at the end."""
    line, descriptors, _, _ = socket.recv_fds(connection, _LARGEST, 4)
    while line and not line.endswith(b"\n"):
        line += connection.recv(_LARGEST)
    return line, descriptors


def _report(running: dict[int, int]) -> None:
    """Write the exit codes of the copies that have ended."""
    for pid in list(running):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            descriptor = running.pop(pid)
            _write(descriptor, os.waitstatus_to_exitcode(status))
            os.close(descriptor)


def _write(descriptor: int, number: int) -> None:
    # The tests may have ended since then.
    with contextlib.suppress(BrokenPipeError):
        os.write(descriptor, f"{number}\n".encode())


def _end(running: dict[int, int]) -> None:
    """Kill the copies and end this process: the tests have ended."""
    for pid in running:
        os.kill(pid, signal.SIGKILL)
    os._exit(0)


def _main() -> None:
    _, descriptor, *modules = sys.argv
    for module in modules:
        __import__(module)
    # The collections of a copy leave out what is there by now, so that it shares that memory with the server.
    gc.freeze()
    connection = socket.socket(fileno=int(descriptor))
    connection.send(b"\n")
    request = _serve(connection)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.argv[:] = [request["module"], *request["arguments"]]
    runpy.run_module(request["module"], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _main()
