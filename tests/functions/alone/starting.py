"""A function started alone, as it is deployed: by the image's command, in its own process.

The process starts as a copy of one that has imported the server and the framework, which take most of the start and are
the same for every function. `started_by_command` runs the command itself.
"""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.forking import Forked, ForkServer
from tests.processes import bound
from tests.waiting import PATIENCE_SECONDS

ROOT = Path(__file__).resolve().parents[3]
SERVED = ("--factory", "shared.functions.application:application")
_OPTIONS = ("-X", "importtime")
_IMPORT = "import time:"
# The modules that every function imports, without those of this repository.
_PRELOADED = ("uvicorn.main", "uvicorn.protocols.http.httptools_impl", "functions_framework.aio", "pydantic.main")


@dataclass(frozen=True)
class Reply:
    """The HTTP response."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Alone:
    """The process of a function, and the file to which it writes its errors and imports."""

    port: int
    errors: Path
    preloaded: str
    """What the process that it is a copy of has reported."""

    def send(self, method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> Reply:
        """Send one request over a new connection."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_SECONDS)
        try:
            connection.request(method, path, body or None, dict(headers))
            answer = connection.getresponse()
            return Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def imported(self) -> list[str]:
        """Return the modules that the process has imported until now, as its interpreter reports (-X importtime).

        The report omits modules that importlib.import_module imports by name, but not the modules that these import.
        """
        report = self.preloaded + self.errors.read_text()
        lines = [line for line in report.splitlines() if line.startswith(_IMPORT)]
        return [line.rpartition("|")[2].strip() for line in lines][1:]

    def output(self) -> str:
        """Return everything else that the process has written."""
        lines = self.errors.read_text().splitlines(keepends=True)
        return "".join(line for line in lines if not line.startswith(_IMPORT))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@cache
def fork_server() -> ForkServer:
    """Return the process that has imported the server and the framework."""
    return ForkServer(*_PRELOADED, options=_OPTIONS)


@contextmanager
def started(source: str, data_dir: Path, **settings: str) -> Iterator[Alone]:
    """Start functions/<domain>/<operation>.py with this data directory, and stop it at the end."""
    server, errors = fork_server(), data_dir.with_suffix(".errors")
    alone = Alone(free_port(), errors, server.reported().decode())
    with errors.open("wb") as stream:
        process = server.start(
            "uvicorn", *arguments(alone), cwd=ROOT, env=environment_of(source, data_dir, settings), stderr=stream
        )
    with stopped(process, alone):
        yield alone


@contextmanager
def started_by_command(source: str, data_dir: Path, **settings: str) -> Iterator[Alone]:
    """The same in an interpreter of its own."""
    errors = data_dir.with_suffix(".errors")
    alone = Alone(free_port(), errors, "")
    command = bound([sys.executable, *_OPTIONS, "-m", "uvicorn", *arguments(alone)])
    with errors.open("wb") as stream:
        process = subprocess.Popen(command, cwd=ROOT, env=environment_of(source, data_dir, settings), stderr=stream)
    with stopped(process, alone):
        yield alone


def arguments(alone: Alone) -> list[str]:
    return [*SERVED, "--port", str(alone.port), "--no-access-log"]


def environment_of(source: str, data_dir: Path, settings: Mapping[str, str]) -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("LASTRO_")},
        "FUNCTION_TARGET": Path(source).stem,
        "FUNCTION_SOURCE": source,
        "LASTRO_DATA_DIR": str(data_dir),
        **settings,
    }


@contextmanager
def stopped(process: subprocess.Popen[bytes] | Forked, alone: Alone) -> Iterator[None]:
    """Wait until the function listens, and stop it at the end."""
    try:
        _wait_until_open(process, alone)
        yield
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_open(process: subprocess.Popen[bytes] | Forked, alone: Alone) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", alone.port), timeout=1).close()
        except OSError:
            time.sleep(0.01)
        else:
            return
    raise AssertionError(f"it did not start: {alone.output()}")
