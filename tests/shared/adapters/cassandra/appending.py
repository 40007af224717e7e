"""Processes that record transfers between two accounts (`appending_child.py`)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.processes import bound

ROOT = Path(__file__).parents[4]
COUNT = 120
KILLED_AFTER = 40


@contextmanager
def appending(url: str, tenant_id: str, name: str) -> Iterator[subprocess.Popen[str]]:
    """Start a process that records COUNT transfers, and kill it at the end."""
    command = [sys.executable, str(ROOT / "tests/shared/adapters/cassandra/appending_child.py")]
    with subprocess.Popen(
        bound([*command, url, tenant_id, name, str(COUNT)]),
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def printed(process: subprocess.Popen[str], most: int = COUNT) -> list[str]:
    """Return the ids that a process prints until it ends or the number is reached."""
    assert process.stdout is not None
    ids: list[str] = []
    for line in process.stdout:
        ids.append(line.strip())
        if len(ids) == most:
            break
    return ids
