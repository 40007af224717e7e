"""The size of the WAL before a checkpoint, at low and at high load."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest

from shared.adapters.sqlite.schema import DATABASE
from shared.adapters.sqlite.writer import BatchRunner, Row

ROW_BYTES = 4096
DEFINITION = "CREATE TABLE rows (id INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT"
MIB = 1024 * 1024
SMALL_TO_A_MIB = MIB // (ROW_BYTES * 4)
LARGE_TO_A_MIB = MIB // (ROW_BYTES * 64)


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[BatchRunner]:
    with closing(BatchRunner(tmp_path)) as opened:
        assert opened.run([(DEFINITION, [], False)], 0) is None
        yield opened


def _log_mib(data_dir: Path) -> float:
    return (data_dir / f"{DATABASE}-wal").stat().st_size / MIB


def _write(runner: BatchRunner, ids: Iterator[int], *, batches: int, of_rows: int) -> None:
    for _ in range(batches):
        rows: list[Row] = [(next(ids), "x" * ROW_BYTES) for _ in range(of_rows)]
        assert runner.run([("INSERT INTO rows (id, body) VALUES (?, ?)", rows, True)], ROW_BYTES * of_rows) is None
        runner.checkpoint_when_due()


def test_small_batches_keep_the_wal_short(runner: BatchRunner, tmp_path: Path) -> None:
    """At moderate load the WAL stays within a few MiB however much is written, so that checkpoints are short."""
    _write(runner, count(1), batches=12 * SMALL_TO_A_MIB, of_rows=4)

    assert _log_mib(tmp_path) < 8


def test_large_batches_let_the_wal_grow_within_a_bound(runner: BatchRunner, tmp_path: Path) -> None:
    """With large batches the WAL grows up to a higher bound before a checkpoint."""
    ids = count(1)
    _write(runner, ids, batches=6 * LARGE_TO_A_MIB, of_rows=64)
    before = _log_mib(tmp_path)
    _write(runner, ids, batches=24 * LARGE_TO_A_MIB, of_rows=64)

    assert before > 6
    assert _log_mib(tmp_path) < 32


def test_the_first_small_batch_after_large_ones_empties_the_wal(runner: BatchRunner, tmp_path: Path) -> None:
    """The first small batch after large ones causes a checkpoint, after which the WAL is written from its beginning."""
    ids = count(1)
    _write(runner, ids, batches=6 * LARGE_TO_A_MIB, of_rows=64)
    _write(runner, ids, batches=1, of_rows=4)
    after = _log_mib(tmp_path)
    _write(runner, ids, batches=SMALL_TO_A_MIB, of_rows=4)

    assert _log_mib(tmp_path) == after
