"""The broker over the real store: kill -9 at any moment, and batches that fail."""

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
from tests.processes import bound
from tests.waiting import PATIENCE_SECONDS

ROOT = Path(__file__).resolve().parents[3]


@contextmanager
def child(folder: Path, first: int, count: int, **more: str) -> Iterator[subprocess.Popen[str]]:
    """The crash child, started, with these environment variables besides; killed at the end if it is still there."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **more}
    command = [sys.executable, "-m", "tests.embedded.broker.crash_child", str(folder), str(first), str(count)]
    with subprocess.Popen(bound(command), cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_nothing_is_lost_and_nothing_twice_over_kill_9(tmp_path: Path) -> None:
    """A process is killed at random moments and started again; in the end every sale on disk is packed, shipped and
    billed (or its dead letter parked) exactly once, and the low-water mark has passed them all."""
    random = Random(7)
    for attempt in range(3):
        with child(tmp_path, attempt * 400, 400) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(random.random() * 0.15)
    finish(tmp_path, 1600)


@pytest.mark.parametrize("point", [name for name in crash_points.NAMES if name.startswith("broker.")])
def test_each_of_the_brokers_crash_points_is_survived(tmp_path: Path, point: str) -> None:
    """The process dies at the point, in the middle of its work, and the next one finishes it."""
    with child(tmp_path, 0, 120, **{crash_points.VARIABLE: f"{point}:4"}) as process:
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    finish(tmp_path, 1000)


def finish(folder: Path, first: int) -> None:
    """Let a child do what is left, and check what came of it all."""
    with child(folder, first, 20) as process:
        output, _ = process.communicate()
    assert process.returncode == 0
    _, mark, head = output.splitlines()[-1].split()
    assert int(mark) == int(head) + 1
    check_effects(folder / "data" / "lastro.db")


def check_effects(database: Path) -> None:
    """Each sold event has a packed one, and each its effects; nothing else has any."""
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


async def test_a_failed_batch_is_taken_back_and_its_causes_delivered_again(tmp_path: Path) -> None:
    """When the store loses a batch, what it held is decided again from the events that are on disk."""
    clock = SystemClock()
    store = await SqliteStore.open(
        tmp_path / "data", collections=(EFFECTS,), settings=Settings(), clock=clock, writer="thread"
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
    await store.close()
    assert all(effect is not None for effect in effects[:50])
    assert all(effect is None for effect in effects[50:])
    check_effects(tmp_path / "data" / "lastro.db")


def fail_next_batch(store: SqliteStore) -> None:
    """Put a statement into the batch being gathered that the database refuses."""
    store._log._rows.append((1, *store._log._rows[-1][1:]))
    store._journal.touch(1)
