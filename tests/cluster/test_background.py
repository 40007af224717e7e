"""What outlives its command is found by its lock, and leaves no process behind where it ends first."""

from __future__ import annotations

import gc
import os
import sys
import warnings
from pathlib import Path

import pytest

from tests.cluster.background import launch, reap
from tests.servers.supervision import is_held
from tests.waiting import PATIENCE_SECONDS

UNTIL_INPUT_ENDS = "import sys; print('started', flush=True); open(sys.argv[1]).read()"


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    """A pipe: the process of a test ends when it was opened for writing and closed."""
    found = tmp_path / "fifo"
    os.mkfifo(found)
    return found


def test_a_process_holds_its_lock_until_it_ends(tmp_path: Path, fifo: Path) -> None:
    """While the process runs its lock is held and another one is refused; it is reaped without a warning afterwards."""
    lock, log = tmp_path / "lock", tmp_path / "log"
    command = [sys.executable, "-c", UNTIL_INPUT_ENDS, str(fifo)]
    assert not is_held(lock)
    pid = launch(command, log=log, lock=lock).pid
    assert is_held(lock)
    with pytest.raises(BlockingIOError):
        launch(command, log=log, lock=lock)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        gc.collect()
        fifo.open("w").close()
        reap(lock, PATIENCE_SECONDS)
        gc.collect()
    assert [str(each.message) for each in warned] == []
    assert log.read_text() == "started\n"
    assert not is_held(lock)
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, 0)
    reap(lock, PATIENCE_SECONDS)
