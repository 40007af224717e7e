"""The processes of one running server: started, awaited, killed and restarted by tests, and ended together."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import IO, Final, NamedTuple

from tests.processes import bound
from tests.servers.installing import Unavailable, last_lines, run

START_SECONDS: Final = 600
"""How long a server may take until it answers: the slowest takes half a minute on two idle cores."""
STOP_SECONDS: Final = 15
"""How long the processes of a server may take to end by themselves. Their data are removed anyway."""
Advertised = Callable[[str], str]
"""Returns the address that clients are told, for the HOST:PORT on which a server listens."""
_POLL_SECONDS: Final = 0.1
# Below the ports that the kernel uses for outgoing connections, so that none of those takes a port meanwhile.
_PORTS: Final = range(20_000, 32_000)


def free_port(address: str = "127.0.0.1") -> int:
    """Return a port of this address on which nothing listens."""
    for port in random.sample(_PORTS, 200):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((address, port))
            return port
    raise Unavailable(f"found no free port of {address} from {_PORTS.start} to {_PORTS.stop - 1}")


class _Started(NamedTuple):
    command: Sequence[str]
    environment: Mapping[str, str]
    cwd: Path | None
    process: subprocess.Popen[bytes]
    log_starts_at: int


class Processes:
    """The processes of one server, each with a name. They end with the process that starts them, however it ends.

    `folder` has a log (NAME.log) and the process id (NAME.pid) of each; `data` in it is the new folder for the server's
    data.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self._started: dict[str, _Started] = {}
        self._at_end: list[Callable[[], None]] = []
        shutil.rmtree(self.data, ignore_errors=True)
        self.data.mkdir(parents=True)

    def log(self, name: str) -> Path:
        """Return the path of the log of the process of this name."""
        return self.folder / f"{name}.log"

    def run(self, name: str, command: Sequence[str], *, cwd: Path | None = None) -> None:
        """Run a command to its end, with its output in the log of this name. Raises Unavailable if it fails."""
        run(bound(command), self.log(name), cwd=cwd, seconds=START_SECONDS)

    def start(
        self,
        name: str,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        """Start a process. Its environment is that of this process with `environment` added."""
        variables = {**os.environ, **(environment or {})}
        with self.log(name).open("ab") as log:
            start = log.tell()
            process = self._open(command, variables, cwd, log)
        (self.folder / f"{name}.pid").write_text(f"{process.pid}\n", encoding="ascii")
        self._started[name] = _Started(command, variables, cwd, process, start)

    def start_again(self, name: str) -> None:
        """Start a process again, with the same command, after it has ended."""
        was = self._started[name]
        assert was.process.poll() is not None, f"{name} still runs"
        self.start(name, was.command, environment=was.environment, cwd=was.cwd)

    def kill(self, name: str) -> None:
        """End a process as `kill -9` does, and wait until it has ended."""
        self._started[name].process.kill()
        self._started[name].process.wait()

    def at_end(self, action: Callable[[], None]) -> None:
        """Call this after the processes have ended, in reverse order."""
        self._at_end.append(action)

    def ended(self) -> list[str]:
        """Return the names of the processes that have ended, by themselves or by `kill`."""
        return [name for name, started in self._started.items() if started.process.poll() is not None]

    def wait_until(
        self,
        answers: Callable[[], object],
        what: str,
        *,
        seconds: float = START_SECONDS,
        may_have_ended: Collection[str] = (),
    ) -> None:
        """Wait until `answers` returns without an exception. Raises Unavailable if a process ends or time runs out."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                answers()
            except Exception as error:  # noqa: BLE001 - each client library has its own exceptions for "not yet"
                last = error
            else:
                return
            for name in set(self.ended()).difference(may_have_ended):
                code = self._started[name].process.returncode
                raise Unavailable(f"{what}: {name} ended with {code}\n{last_lines(self.log(name))}")
            if time.monotonic() > deadline:
                logs = "\n".join(last_lines(self.log(name)) for name in self._started)
                raise Unavailable(f"{what} did not answer within {seconds:.0f} s; last: {last!r}\n{logs}")
            time.sleep(_POLL_SECONDS)

    def wait_until_it_says(self, name: str, words: str, *, may_have_ended: Collection[str] = ()) -> None:
        """Wait until the log of the process, since its last start, contains this text. Raises Unavailable when a
        process ends."""
        log, start = self.log(name), self._started[name].log_starts_at

        def look() -> None:
            with log.open("rb") as file:
                file.seek(start)
                if words.encode() not in file.read():
                    raise ValueError(f"{log} does not say: {words}")

        self.wait_until(look, name, may_have_ended=may_have_ended)

    def stop(self) -> None:
        """End all processes and remove their data. Their logs stay."""
        for started in reversed(self._started.values()):
            started.process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for name, started in self._started.items():
            try:
                started.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:  # such as a broker of a cluster whose others have ended
                self.kill(name)
            (self.folder / f"{name}.pid").unlink(missing_ok=True)
        self._started.clear()
        while self._at_end:
            self._at_end.pop()()
        shutil.rmtree(self.data, ignore_errors=True)

    @staticmethod
    def _open(
        command: Sequence[str], variables: Mapping[str, str], cwd: Path | None, log: IO[bytes]
    ) -> subprocess.Popen[bytes]:
        # In its own process group: Ctrl-C reaches the supervising process, and not the server.
        return subprocess.Popen(
            bound(command),
            cwd=cwd,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            process_group=0,
        )
