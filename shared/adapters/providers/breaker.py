"""A circuit breaker: after several failures in a row, a server is not called for a while."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

FAILURES: Final = 5
"""Failures in a row after which the circuit opens."""
FIRST_PAUSE_SECONDS: Final = 1.0
LONGEST_PAUSE_SECONDS: Final = 60.0


class CircuitOpen(Exception):
    """The server has failed several times in a row and is not called now; the text says for how long."""


class CircuitBreaker:
    """Counts the failures of one server, in one process.

    After FAILURES in a row, calls are refused for a pause; then one call is let through as a trial. When the trial
    fails, the next pause is twice as long, up to LONGEST_PAUSE_SECONDS. A success closes the circuit. `seconds` is a
    monotonic clock.
    """

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._failures = 0
        self._pause = FIRST_PAUSE_SECONDS
        self._open_until = 0.0
        self._is_tried = False

    def check(self) -> None:
        """Raise CircuitOpen when the server is not to be called now. Each call that passes ends with `success` or
        `failure`, or with `abandon`."""
        if self._failures < FAILURES:
            return
        left = self._open_until - self._seconds()
        if left > 0 or self._is_tried:
            raise CircuitOpen(f"it failed {self._failures} times in a row; the next attempt is in {max(left, 0):.1f} s")
        self._is_tried = True

    def success(self) -> None:
        """Note that the server has answered."""
        self._failures, self._pause, self._is_tried = 0, FIRST_PAUSE_SECONDS, False

    def failure(self) -> None:
        """Note that the server has not answered, or with an error of its own."""
        self._failures += 1
        if self._failures < FAILURES:
            return
        if self._is_tried:
            self._pause = min(2 * self._pause, LONGEST_PAUSE_SECONDS)
        self._is_tried = False
        self._open_until = self._seconds() + self._pause

    def abandon(self) -> None:
        """Note that the call ended without a result: it was cancelled."""
        self._is_tried = False
