"""Shows the steps of a deployment, each with the seconds that it took."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable


def step(name: str, action: Callable[[], object]) -> None:
    """Do a step, and print its name and the seconds that it took."""
    print(f"{name} …", end="", file=sys.stderr, flush=True)
    begin = time.monotonic()
    try:
        action()
    except BaseException:
        print(" failed", file=sys.stderr, flush=True)
        raise
    print(f" {time.monotonic() - begin:.1f} s", file=sys.stderr, flush=True)
