"""The present speed of Python on this machine. A shared machine may take half or twice the time for the same work."""

from __future__ import annotations

from time import process_time
from typing import Final

_ROUNDS: Final = 100_000


def pace_ms() -> float:
    """Return the processor time in milliseconds of a fixed piece of Python: dictionaries, tuples, text and integers."""
    started = process_time()
    kept: dict[int, tuple[int, str]] = {}
    for number in range(_ROUNDS):
        kept[number & 1023] = (number, str(number))
        kept[number & 511][0].bit_length()
    return (process_time() - started) * 1000
