"""Counts the calls of running processes with the profiler in counter/sitecustomize.py, which is controlled by
signals."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

_COUNTER: Final = Path(__file__).parent / "counter"
_PATIENCE_SECONDS: Final = 120


@dataclass(slots=True)
class Tally:
    """The calls of processes: the number of entries into Python code (a start, or a continuation after an await), and
    the number of starts of each function, with functions in C listed separately. Functions are named `module.qualified
    name`."""

    entries: int = 0
    starts: Counter[str] = field(default_factory=Counter)
    c: Counter[str] = field(default_factory=Counter)

    def __add__(self, other: Self) -> Tally:
        return Tally(self.entries + other.entries, self.starts + other.starts, self.c + other.c)


class Calls:
    """Counts calls in processes that were started with `environment`. They write their counts into `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.python = ""
        """The Python version of the processes, known after the first `end`."""

    def environment(self) -> dict[str, str]:
        """The environment variables with which a Python process, and its children, load the profiler."""
        path = (str(_COUNTER), os.environ.get("PYTHONPATH"))
        return {"PYTHONPATH": os.pathsep.join(filter(None, path)), "LASTRO_COUNT_DIR": str(self._folder)}

    def begin(self, pids: list[int]) -> None:
        """Start to count the calls in the main threads of these processes."""
        for pid in pids:
            os.kill(pid, signal.SIGUSR1)

    def end(self, pids: list[int]) -> list[Tally]:
        """Stop, and return the calls of each process since `begin`."""
        for pid in pids:
            os.kill(pid, signal.SIGUSR2)
        return [self._read(self._folder / f"{pid}.json") for pid in pids]

    def _read(self, path: Path) -> Tally:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not path.exists():
            if time.monotonic() > deadline:
                raise RuntimeError(f"process {path.stem} did not report within {_PATIENCE_SECONDS} seconds")
            time.sleep(0.005)
        written = json.loads(path.read_text())
        path.unlink()
        self.python = written["python"]
        return Tally(written["entries"], Counter(written["starts"]), Counter(written["c"]))
