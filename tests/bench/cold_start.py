"""Cold starts: the time from the start of a function's process to its first response, and its memory at rest."""

from __future__ import annotations

import compileall
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.bench.server import ROOT, free_port


@dataclass(frozen=True, slots=True)
class ColdStart:
    """The start of one function."""

    function: str
    milliseconds: float
    resident_mb: float


def functions() -> list[Path]:
    """Return the file of every function."""
    return sorted(path for path in ROOT.glob("functions/*/*.py") if not path.name.startswith("_"))


def compile_sources() -> None:
    """Compile the modules that functions import, as the launcher and the image do. Without bytecode files, each start
    would compile the modules that were edited."""
    for folder in ("events", "functions", "shared"):
        compileall.compile_dir(ROOT / folder, quiet=1)


def cold_start(source: Path) -> ColdStart:
    """Start one function with the unmodified framework and send it one request."""
    with tempfile.TemporaryDirectory() as data_dir:
        port = free_port()
        environment = {
            **os.environ,
            "FUNCTION_TARGET": source.stem,
            "FUNCTION_SOURCE": str(source.relative_to(ROOT)),
            "LASTRO_DATA_DIR": data_dir,
        }
        command = [sys.executable, "-m", "uvicorn", "functions_framework.aio:app", "--port", str(port)]
        started = time.perf_counter()
        process = subprocess.Popen(
            [*command, "--log-level", "warning"], cwd=ROOT, env=environment, stderr=subprocess.DEVNULL
        )
        try:
            milliseconds = _first_answer(process, port, started)
            status = Path(f"/proc/{process.pid}/status").read_text().splitlines()
            resident = next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))
        finally:
            process.terminate()
            process.wait(10)
    return ColdStart(f"{source.parent.name}/{source.stem}", milliseconds, resident / 1024)


def _first_answer(process: subprocess.Popen[bytes], port: int, started: float) -> float:
    # Until the port is open, only a connection is tried: a whole request each time would slow the start down.
    while process.poll() is None and time.perf_counter() - started < 20:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        except OSError:
            time.sleep(0.002)
            continue
        with suppress(urllib.error.HTTPError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).close()
        return (time.perf_counter() - started) * 1000
    with suppress(OSError):
        process.kill()
    raise RuntimeError("the function did not start")
