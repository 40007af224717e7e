"""Starts and stops the platform for a measurement, and reads its metrics."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from tests.bench.client import Credentials, credentials_of

ROOT = Path(__file__).resolve().parents[2]


@dataclass(slots=True)
class Server:
    """A running platform."""

    process: subprocess.Popen[bytes]
    data_dir: Path
    base_url: str

    def credentials(self) -> Credentials:
        """Return the demo tenant's credentials with a fresh token (valid for five minutes)."""
        return credentials_of(self.data_dir, self.token("demo"))

    def token(self, client: str) -> str:
        """Return a fresh token for one of the clients in the credentials file."""
        written = json.loads((self.data_dir / "credentials.json").read_text())
        pair = f"{written[client]['client_id']}:{written[client]['client_secret']}"
        request = urllib.request.Request(
            written["token_url"],
            data=urlencode({"grant_type": "client_credentials"}).encode(),
            headers={"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            token: str = json.load(answer)["access_token"]
        return token

    def measurements(self) -> str:
        """Return the metrics of the platform, in Prometheus' text format."""
        return read(f"{self.base_url}/metrics", self.token("platform")).decode()

    def deliveries(self, consumer: str) -> int:
        """Return the number of events that a function has applied."""
        return applied(self.measurements(), consumer)

    def resident_mb(self) -> float:
        """Return the resident memory of the platform's processes, in MiB."""
        return sum(_resident_kb(pid) for pid in self.pids()) / 1024

    def cpu_seconds(self) -> float:
        """Return the processor time that the platform's processes have used, in seconds."""
        return sum(self.cpu_seconds_by_process())

    def cpu_seconds_by_process(self) -> list[float]:
        """Return the processor time of each process: the core first, then its writer."""
        return [_cpu_seconds(pid) for pid in self.pids()]

    def pids(self) -> list[int]:
        """Return the ids of the platform's processes: the core first, then its writer."""
        return _family(self.process.pid)

    def demanded_seconds(self) -> float:
        """Return the processor time that the main threads of the platform's processes have used or waited for, in
        seconds."""
        return sum(_wanted_seconds(pid) for pid in self.pids())


def read(url: str, token: str = "") -> bytes:
    """Return the response to a GET of an address of this machine."""
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    with urllib.request.urlopen(request, timeout=10) as answer:
        body: bytes = answer.read()
    return body


def applied(measurements: str, consumer: str | None = None) -> int:
    """Return the number of events that a function, or every function, has applied, from the platform's metrics."""
    named = '[^"]*' if consumer is None else re.escape(consumer)
    pattern = rf'^lastro_event_delivery_seconds_count{{consumer="{named}",[^}}]*status="204"}} (\d+)'
    return sum(int(count) for count in re.findall(pattern, measurements, re.MULTILINE))


def gauge(measurements: str, name: str) -> float:
    """Return a metric without labels. Raises LookupError when the platform does not have it."""
    found = re.search(rf"^lastro_{name} (\S+)$", measurements, re.MULTILINE)
    if found is None:
        raise LookupError(f"the platform does not measure {name}")
    return float(found[1])


@contextmanager
def running(
    data_dir: Path,
    *options: str,
    root: Path = ROOT,
    under: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    patience_seconds: float = 60,
    grace_seconds: float = 30,
) -> Iterator[Server]:
    """Run `lastro up` of a checkout on a free port until the block ends.

    `under` is a command that runs it (such as a profiler); `environment` is added to the variables of this process.
    Raises RuntimeError when the platform is not ready within `patience_seconds`. A platform that has not ended
    `grace_seconds` after SIGTERM is killed.
    """
    port = free_port()
    own = root / ".venv" / "bin" / "python"
    python = sys.executable if root == ROOT or not own.exists() else str(own)
    command = [*under, python, "-m", "cli", "up", "--data-dir", str(data_dir), "--port", str(port), *options]
    log = data_dir.parent / f"{data_dir.name}.log"
    variables = {**os.environ, **(environment or {})}
    with log.open("ab") as output:
        process = subprocess.Popen(command, cwd=root, env=variables, stdout=output, stderr=output)
    server = Server(process, data_dir, f"http://127.0.0.1:{port}")
    try:
        _wait_until_ready(server, log, patience_seconds)
        yield server
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(grace_seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def end_platforms_on_sigterm() -> None:
    """On SIGTERM, end the platform that this process runs, as on Ctrl-C."""
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))


def _wait_until_ready(server: Server, log: Path, patience_seconds: float) -> None:
    deadline = time.monotonic() + patience_seconds
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            raise RuntimeError(f"the platform ended by itself: {log.read_text()[-2000:]}")
        with suppress(urllib.error.URLError, OSError):
            read(f"{server.base_url}/readyz")
            return
        time.sleep(0.05)
    raise RuntimeError(f"the platform was not ready in {patience_seconds:.0f} seconds: {log.read_text()[-2000:]}")


def free_port() -> int:
    """Return a port that no process uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _family(pid: int) -> list[int]:
    family = [pid]
    for parent in family:
        children = Path(f"/proc/{parent}/task/{parent}/children")
        with suppress(OSError):
            family.extend(int(child) for child in children.read_text().split())
    return family


def _resident_kb(pid: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
    return 0


def _cpu_seconds(pid: int) -> float:
    with suppress(OSError):
        parts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def _wanted_seconds(pid: int) -> float:
    with suppress(OSError):
        running, waiting, _ = Path(f"/proc/{pid}/schedstat").read_text().split()
        return (int(running) + int(waiting)) / 1e9
    return 0.0
