"""How fast this machine runs Python just now: a shared machine may do the same work in half or in twice the time."""

from __future__ import annotations

from time import process_time
from typing import Final

_ROUNDS: Final = 100_000


def pace_ms() -> float:
    """Milliseconds of processor time that a fixed piece of Python takes: dictionaries, tuples, text and integers."""
    started = process_time()
    kept: dict[int, tuple[int, str]] = {}
    for number in range(_ROUNDS):
        kept[number & 1023] = (number, str(number))
        kept[number & 511][0].bit_length()
    return (process_time() - started) * 1000
