"""The broker on the embedded store, with kill -9 at any moment and failed batches."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest

from embedded.broker.broker import Broker
from shared.adapters.sqlite.store import SqliteStore
from shared.core import crash_points
from shared.core.clock import SystemClock
from shared.core.settings import Settings
from shared.ports.documents import Commit, Unavailable
from tests.embedded.broker.crash_child import EFFECTS, UNPAID, Functions, wiring
from tests.embedded.broker.small_platform import event
from tests.opening import open_adapter
from tests.processes import bound
from tests.waiting import PATIENCE_SECONDS

ROOT = Path(__file__).resolve().parents[3]


@contextmanager
def child(folder: Path, first: int, count: int, **more: str) -> Iterator[subprocess.Popen[str]]:
    """Start the crash child with these additional environment variables, and kill it at the end."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **more}
    command = [sys.executable, "-m", "tests.embedded.broker.crash_child", str(folder), str(first), str(count)]
    with subprocess.Popen(bound(command), cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_kill_9_loses_no_event_and_repeats_no_effect(tmp_path: Path) -> None:
    """After kills at random moments and restarts, every sale on disk is packed, shipped and billed (or its dead
    letter is parked) exactly once, and the low-water mark has passed them all."""
    random = Random(7)
    for attempt in range(3):
        with child(tmp_path, attempt * 400, 400) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(random.random() * 0.15)
    finish(tmp_path, 1600)


@pytest.mark.parametrize("point", [name for name in crash_points.NAMES if name.startswith("broker.")])
def test_each_of_the_brokers_crash_points_is_survived(tmp_path: Path, point: str) -> None:
    """A process dies at the crash point, and the next one finishes its work."""
    with child(tmp_path, 0, 120, **{crash_points.VARIABLE: f"{point}:4"}) as process:
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    finish(tmp_path, 1000)


def finish(folder: Path, first: int) -> None:
    """Let a child process the remaining events, and check all effects."""
    with child(folder, first, 20) as process:
        output, _ = process.communicate()
    assert process.returncode == 0
    _, mark, head = output.splitlines()[-1].split()
    assert int(mark) == int(head) + 1
    check_effects(folder / "data" / "lastro.db")


def check_effects(database: Path) -> None:
    """Check that each `sold` event has a `packed` one, that each has its effects, and that there are no others."""
    connection = sqlite3.connect(database)
    try:
        events = connection.execute("SELECT id, type FROM events").fetchall()
        markers = connection.execute("SELECT consumer, event_id FROM inbox").fetchall()
    finally:
        connection.close()
    sold = {id for id, type in events if type == "sold"}
    packed = [id for id, type in events if type == "packed"]
    assert len(sold) >= 20
    assert len(packed) == len(set(packed))
    assert {f"evt_{int(id[4:]) - 1_000_000}" for id in packed} == sold
    expected = {(f"shop/{name}", id) for name in ("pack", "bill") for id in sold}
    unpaid = {id for id in sold if int(id[4:]) % UNPAID == 0}
    expected -= {("shop/bill", id) for id in unpaid}
    expected |= {("shop/parking", id) for id in unpaid}
    expected |= {("shop/ship", id) for id in packed}
    assert set(markers) == expected
    assert len(markers) == len(expected)


async def test_the_events_of_a_failed_batch_are_processed_again(tmp_path: Path) -> None:
    """When the store loses a batch, its effects are made again from the events on disk."""
    clock = SystemClock()
    store = await open_adapter(
        SqliteStore(tmp_path / "data", collections=(EFFECTS,), settings=Settings(), clock=clock, writer="thread")
    )
    broker = Broker(wiring(tmp_path), store, clock, Functions(store, 1).invoke)
    await broker.start()
    await store.documents.commit(Commit("acme", events=[event(n, "sold") for n in range(50)]))
    await store.documents.durable()
    await store.documents.commit(Commit("acme", events=[event(n, "sold") for n in range(50, 60)]))
    waiting = store.documents.durable()
    fail_next_batch(store)
    with pytest.raises(Unavailable):
        await waiting
    assert store.generation == 1
    assert await broker.idle(PATIENCE_SECONDS)
    await broker.stop()
    effects = [await store.documents.get(EFFECTS, "acme", f"pack-evt_{n}") for n in range(60)]
    await store.aclose()
    assert all(effect is not None for effect in effects[:50])
    assert all(effect is None for effect in effects[50:])
    check_effects(tmp_path / "data" / "lastro.db")


def fail_next_batch(store: SqliteStore) -> None:
    """Add a statement that the database refuses to the next batch."""
    store._log._rows.append((1, *store._log._rows[-1][1:]))
    store._journal.touch(1)
