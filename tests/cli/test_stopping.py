"""Stopping `lastro up` when its writer hangs or while it starts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from tests.cli.started import ROOT, STOP_SECONDS, Started, command, environment, fork_server, run, started
from tests.forking import Forked
from tests.waiting import PATIENCE_SECONDS

TENANT = '{"name": "Left"}'


def children(pid: int) -> list[int]:
    """Return the child processes of a process."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == pid:
                found.append(int(entry.name))
    return found


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Stop a process with SIGSTOP, so that it behaves as one that waits for a disk that hangs."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def post_tenant(platform: Started) -> Forked:
    """Send a request whose answer waits until it is on disk."""
    arguments = ("request", "--platform", "POST", "/v1/tenants", "-d", TENANT, "--data-dir", str(platform.data_dir))
    return fork_server().start("cli", *arguments, cwd=ROOT, env=environment(), stderr=subprocess.DEVNULL)


def token_of(platform: Started) -> str:
    """Return an operator's token."""
    return run("token", "--platform", "--data-dir", str(platform.data_dir)).stdout.strip()


def events_not_on_disk(platform: Started, token: str) -> int:
    """Return the number of committed events that are not on disk."""
    answer = httpx.get(f"{platform.announced['base_url']}/metrics", headers={"authorization": f"Bearer {token}"})
    values = dict(line.rsplit(" ", 1) for line in answer.text.splitlines() if line.startswith("lastro_log_"))
    return int(float(values["lastro_log_head"]) - float(values["lastro_log_durable"]))


@pytest.mark.skipif(sys.platform != "linux", reason="finds the writer's process in /proc")
def test_it_ends_within_ten_seconds_when_the_writer_hangs(tmp_path: Path) -> None:
    """When the writer hangs, SIGTERM ends the platform in time with exit code 1 and a line about the unwritten
    changes; the next start can use the directory at once."""
    errors = tmp_path / "errors"
    with errors.open("wb") as stream, started(tmp_path / "data", stderr=stream) as platform:
        token = token_of(platform)
        assert events_not_on_disk(platform, token) == 0
        (writer,) = children(platform.process.pid)
        with stopped(writer):
            request = post_tenant(platform)
            deadline = time.monotonic() + PATIENCE_SECONDS
            while events_not_on_disk(platform, token) == 0:
                assert time.monotonic() < deadline
            began = time.monotonic()
            assert platform.stop() == 1
            # It gives up after five seconds; the rest is what a slow machine needs to end a process.
            assert time.monotonic() - began < 3 * STOP_SECONDS
        request.wait(PATIENCE_SECONDS)
    last = errors.read_text().splitlines()[-1]
    assert last.startswith("lastro: the store was not closed properly: the store's writer did not answer within")
    assert "1 events (numbers" in last
    assert "not on disk" in last
    with started(tmp_path / "data") as again:
        assert again.stop() == 0


@pytest.mark.skipif(sys.platform != "linux", reason="finds the writer's process in /proc")
def test_it_ends_while_it_starts(tmp_path: Path) -> None:
    """A signal while the start waits for the data directory ends it in time, with exit code 0 and a line."""
    with started(tmp_path / "data"):
        arguments = command("up", "--port", "0", "--data-dir", str(tmp_path / "data"))
        settings = {**environment(), "LASTRO_DATA_LOCK_SECONDS": "60", "LASTRO_LOG_LEVEL": "debug"}
        second = subprocess.Popen(arguments, cwd=ROOT, env=settings, stderr=subprocess.PIPE, text=True)
        assert second.stderr is not None
        line = second.stderr.readline()
        assert json.loads(line)["message"].startswith("waiting for")
        second.send_signal(signal.SIGTERM)
        _, rest = second.communicate(timeout=PATIENCE_SECONDS)
    assert second.returncode == 0
    assert json.loads(rest.splitlines()[-1])["message"] == "stopped before the platform had started"
