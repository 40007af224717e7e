"""A copy of this checkout in which snippets run unchanged; its `.venv` is the environment of the tests."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.docs.pages import ROOT
from tests.processes import bound
from tests.waiting import PATIENCE_SECONDS

FOLDERS = ("cli", "deployment", "embedded", "events", "functions", "kafka-sources", "knative", "shared", "tests")
LOCKS = ("requirements.lock", "requirements-dev.lock")


@dataclass(frozen=True, slots=True)
class Checkout:
    """The copy, and environment variables without any of Lastro's."""

    root: Path

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ}
        return {**kept, "PATH": os.defpath + os.pathsep + os.environ.get("PATH", ""), "COLUMNS": "160"}

    def run(self, script: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run a bash script in strict mode from the checkout's root."""
        return subprocess.run(
            bound(["bash", "-euo", "pipefail", "-c", script]),
            cwd=self.root,
            env={**self.environment, **settings},
            capture_output=True,
            text=True,
            check=False,
        )

    @contextlib.contextmanager
    def running(self, script: str, **settings: str) -> Iterator[subprocess.Popen[str]]:
        """Run a command until the context ends. It must stop without an error."""
        log = self.root / "running.log"
        with log.open("w", encoding="utf-8") as output:
            process = subprocess.Popen(
                bound(["bash", "-euc", f"exec env {script}"]),
                cwd=self.root,
                env={**self.environment, **settings},
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
            )
        try:
            yield process
            process.terminate()
            process.wait(PATIENCE_SECONDS)
        finally:
            process.kill()
            process.wait()


def copy_checkout(place: Path) -> Checkout:
    """Copy the files of this checkout, and link its environment."""
    place.mkdir()
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, place / folder, copy_function=_copy)
    for file in ("lastro", "Taskfile.yml", "pyproject.toml", *LOCKS):
        shutil.copy2(ROOT / file, place / file)
    environment = place / ".venv"
    environment.mkdir()
    for entry in Path(sys.prefix).iterdir():
        if entry.name != "lastro.stamp":
            (environment / entry.name).symlink_to(entry)
    digests = [subprocess.check_output(["cksum"], input=(ROOT / lock).read_bytes()) for lock in LOCKS]
    (environment / "lastro.stamp").write_bytes(b"".join(digests))
    return Checkout(place)


def _copy(source: str, target: str) -> None:
    # Other tests create and delete compiled modules meanwhile.
    with contextlib.suppress(FileNotFoundError):
        shutil.copy2(source, target)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


def answer_of(process: subprocess.Popen[str], url: str) -> tuple[int, bytes]:
    """Return the status and body of the first answer at this URL. Fails when the process ends or takes too long."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, f"it ended with {process.returncode}"
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE_SECONDS) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()
        except OSError:
            time.sleep(0.05)
    raise AssertionError(f"nothing answered at {url}")
