"""After a crash, the state on disk is a prefix of the commits, with at least those that were reported as durable."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shared.adapters.sqlite.store import SqliteStore
from shared.core import crash_points
from shared.core.clock import SystemClock
from shared.core.settings import Settings
from shared.ports.documents import Commit, InboxMarker, Query
from shared.ports.lifecycle import NotOpened
from tests.opening import open_adapter
from tests.processes import bound
from tests.shared.adapters.sqlite.crash_child import COLLECTIONS, COUNTERS, STEPS
from tests.waiting import PATIENCE_SECONDS

ROOT = Path(__file__).parents[4]
STORE_POINTS = [name for name in crash_points.NAMES if name.partition(".")[0] in ("store", "writer")]


@contextmanager
def core(data_dir: Path, writer: str, crash_at: str = "") -> Iterator[subprocess.Popen[str]]:
    """Start a core in its own process, and kill it at the end."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), crash_points.VARIABLE: crash_at}
    command = [sys.executable, str(ROOT / "tests/shared/adapters/sqlite/crash_child.py"), str(data_dir), writer]
    with subprocess.Popen(
        bound(command), env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def last_reported(process: subprocess.Popen[str]) -> int:
    """Return the last step that the killed core had reported as durable."""
    assert process.stdout is not None
    reported = re.findall(r"^(?:durable|open) (\d+)\n", process.stdout.read(), re.MULTILINE)
    return int(reported[-1]) if reported else 0


def wait_until_open(process: subprocess.Popen[str]) -> None:
    """Return when the core has reported that its store is open."""
    assert process.stdout is not None
    assert process.stdout.readline().startswith("open")


def child_of(pid: int) -> int:
    """Return the one child of a process."""
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


async def check_prefix(data_dir: Path, reported: int) -> int:
    """Open the directory and check that its contents agree. Returns the number of steps in it."""
    store = await open_adapter(
        SqliteStore(data_dir, collections=COLLECTIONS, settings=Settings(data_lock_seconds=20.0), clock=SystemClock())
    )
    try:
        counter = await store.documents.get(COUNTERS, "ten_1", "c")
        count: int = 0 if counter is None else counter["count"]
        assert count >= reported
        assert store.head_sequence == count
        steps = store._reader.execute("SELECT count(*) FROM d_steps").fetchone()[0] if count else 0
        assert steps == count
        events = store.pending_events(max(1, count - 20), 100)
        assert [item.envelope.id for item in events] == [f"s{item.sequence:08}" for item in events]
        for item in events:
            assert await store.documents.seen(InboxMarker("steps", "/s", item.envelope.id))
            recorded = await store.ledger.transfer("ten_1", item.envelope.id)
            assert (recorded is not None) == (item.sequence % 3 == 0)
        assert not await store.documents.seen(InboxMarker("steps", "/s", f"s{count + 1:08}"))
        after = await store.documents.find(STEPS, "ten_1", Query(after=f"s{count:08}"))
        assert list(after) == []
        turnover = await store.ledger.turnover("ten_1")
        assert sum(line.debits - line.credits for line in turnover) == 0
    finally:
        await store.aclose()
    return count


@pytest.mark.parametrize("writer", ["thread", "process"])
async def test_a_killed_core_leaves_a_prefix(tmp_path: Path, writer: str) -> None:
    """A core that is killed at random moments loses no step that it reported as durable, and no commit is partial."""
    steps = 0
    for pause in (0.0, 0.02, 0.11):
        with core(tmp_path / "data", writer) as process:
            wait_until_open(process)
            time.sleep(pause)  # noqa: ASYNC251 - only the other process works meanwhile
            process.kill()
            reported = last_reported(process)
        steps = await check_prefix(tmp_path / "data", max(reported, steps))


@pytest.mark.parametrize("point", STORE_POINTS)
async def test_a_crash_at_each_point_leaves_a_prefix(tmp_path: Path, point: str) -> None:
    """A core that dies at each of its crash points loses no reported step, and no commit is partial."""
    with core(tmp_path / "data", "thread", f"{point}:4") as process:
        assert process.wait(PATIENCE_SECONDS) == -signal.SIGKILL
        reported = last_reported(process)
    await check_prefix(tmp_path / "data", reported)


@pytest.mark.parametrize("point", [name for name in STORE_POINTS if name.startswith("writer.")])
async def test_a_core_continues_after_its_writer_died(tmp_path: Path, point: str) -> None:
    """When the writer process dies at any of its crash points, the core drops its memory, starts another writer and
    continues."""
    with core(tmp_path / "data", "process", f"{point}:3") as process:
        wait_until_open(process)
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(12)]
        assert process.poll() is None
        process.kill()
        reported = max(last_reported(process), int(lines[-1].split()[1]))
    assert reported > 3 * 5
    await check_prefix(tmp_path / "data", reported)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="this system does not list the children of a process")
async def test_an_orphaned_writer_holds_the_directory(tmp_path: Path) -> None:
    """The writer of a killed core locks the directory until it has written all submitted batches."""
    with core(tmp_path / "data", "process") as process:
        wait_until_open(process)
        writer = child_of(process.pid)
        os.kill(writer, signal.SIGSTOP)
        try:
            process.kill()
            process.wait()
            settings = Settings(data_lock_seconds=0.2)
            with pytest.raises(NotOpened, match=str(tmp_path / "data")):
                await open_adapter(
                    SqliteStore(tmp_path / "data", collections=COLLECTIONS, settings=settings, clock=SystemClock())
                )
        finally:
            os.kill(writer, signal.SIGCONT)
        reported = last_reported(process)
    await check_prefix(tmp_path / "data", reported)


async def test_signals_to_the_group_do_not_end_the_writer(tmp_path: Path) -> None:
    """SIGINT and SIGTERM to the process group do not end the writer: it ends when its core has ended."""
    store = await open_adapter(
        SqliteStore(
            tmp_path / "data", collections=COLLECTIONS, settings=Settings(), clock=SystemClock(), writer="process"
        )
    )
    pid = store._journal._writer.pid  # type: ignore[attr-defined]  # the process writer alone has one
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        os.kill(pid, signal_number)
    store.documents.decide(_one_step())
    await store.documents.durable()
    await store.aclose()


def _one_step() -> Commit:
    return Commit("ten_1", inserts=[(STEPS, {"id": "s", "tenant_id": "ten_1", "version": 1})])
