"""Counts the calls of a process between two signals. Python imports this module at start when its folder is on
PYTHONPATH.

SIGUSR1 begins a count and SIGUSR2 ends it. The result is written to `<process id>.json` in the folder that
LASTRO_COUNT_DIR names; without that variable the module does nothing. Only the main thread is counted: it runs the
event loop of the core, or the loop of the writer. The module imports only the standard library, because it runs in
another checkout.
"""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

VARIABLE = "LASTRO_COUNT_DIR"


class CallCounter:
    """Counts calls of Python functions and of functions in C while it is on."""

    def __init__(self) -> None:
        self._python: Counter[tuple[CodeType, int]] = Counter()
        self._c: Counter[tuple[str, str]] = Counter()

    def begin(self) -> None:
        """Start to count from zero."""
        self._python.clear()
        self._c.clear()
        sys.setprofile(self._note)

    def end(self) -> dict[str, Any]:
        """Stop, and return the counts: entries into Python code, starts by function, calls into C by function."""
        sys.setprofile(None)
        starts: Counter[str] = Counter()
        for (code, place), count in self._python.items():
            if _is_start(code, place):
                starts[f"{Path(code.co_filename).stem}.{code.co_qualname}"] += count
        return {
            "python": sys.version.split()[0],
            "entries": self._python.total(),
            "starts": dict(starts),
            "c": {f"{module}.{name}": count for (module, name), count in self._c.items()},
        }

    def _note(self, frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            self._python[frame.f_code, frame.f_lasti] += 1
        elif event == "c_call":
            # A method of a C type has no module; the type of its object has one.
            module = argument.__module__ or type(argument.__self__).__module__
            self._c[module, argument.__qualname__] += 1


def _is_start(code: CodeType, place: int) -> bool:
    """Return whether a call event is a start. A coroutine that continues after an await causes a call event, too.

    Both events are at a RESUME instruction. The two lowest bits of its argument are 0 at the start of a function.
    """
    return code.co_code[place + 1] & 3 == 0


def install(folder: Path) -> None:
    """Install the handlers of the two signals."""
    counter = CallCounter()

    def begin(_number: int, _frame: FrameType | None) -> None:
        counter.begin()

    def end(_number: int, _frame: FrameType | None) -> None:
        import json

        counted = counter.end()
        written = folder / f"{os.getpid()}.part"
        written.write_text(json.dumps(counted))
        written.rename(written.with_suffix(".json"))  # readers never see an incomplete file

    signal.signal(signal.SIGUSR1, begin)
    signal.signal(signal.SIGUSR2, end)


if VARIABLE in os.environ:
    install(Path(os.environ[VARIABLE]))
