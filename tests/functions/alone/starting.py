"""A function started alone, as it is deployed: by the image's command, in a process of its own."""

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
from pathlib import Path

from tests.processes import bound
from tests.waiting import PATIENCE_SECONDS

ROOT = Path(__file__).resolve().parents[3]
SERVED = ("--factory", "shared.functions.application:application")
_IMPORT = "import time:"


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
        lines = [line for line in self.errors.read_text().splitlines() if line.startswith(_IMPORT)]
        return [line.rpartition("|")[2].strip() for line in lines][1:]

    def output(self) -> str:
        """Return everything else that the process has written."""
        return "\n".join(line for line in self.errors.read_text().splitlines() if not line.startswith(_IMPORT))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def started(source: str, data_dir: Path, **settings: str) -> Iterator[Alone]:
    """Start functions/<domain>/<operation>.py with this data directory, and stop it at the end."""
    port = _free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LASTRO_")}
    environment |= {
        "FUNCTION_TARGET": Path(source).stem,
        "FUNCTION_SOURCE": source,
        "LASTRO_DATA_DIR": str(data_dir),
        **settings,
    }
    errors = data_dir.with_suffix(".errors")
    command = [sys.executable, "-X", "importtime", "-m", "uvicorn", *SERVED]
    with errors.open("wb") as stream:
        process = subprocess.Popen(
            bound([*command, "--port", str(port), "--no-access-log"]), cwd=ROOT, env=environment, stderr=stream
        )
    alone = Alone(port, errors)
    try:
        _wait_until_open(process, alone)
        yield alone
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_open(process: subprocess.Popen[bytes], alone: Alone) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", alone.port), timeout=1).close()
        except OSError:
            time.sleep(0.01)
        else:
            return
    raise AssertionError(f"it did not start: {alone.output()}")
