"""Actions that run after a delay on the platform's monotonic clock, which a test can move."""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Callable
from itertools import count
from typing import Final

from shared.core.clock import Clock

log = logging.getLogger(__name__)
_LOOK_AGAIN_SECONDS: Final = 1.0
# Sums of fractions of a second are not exact. Without this, an action could run one iteration too late.
_RESOLUTION_SECONDS: Final = 1e-6


class Timer:
    """One action. `cancel` prevents it from running."""

    __slots__ = ("action", "due")

    def __init__(self, due: float, action: Callable[[], None]) -> None:
        self.due = due
        self.action: Callable[[], None] | None = action

    def cancel(self) -> None:
        """Drop the action. No effect when it has run."""
        self.action = None


class Timers:
    """Calls actions on the event loop after their delay, independent of changes of the wall clock.

    The loop sleeps until the earliest action is due, but at most a second, so that it notices when a test moves the
    clock. A test that does not want to wait for that calls `run_due`.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = count()
        self._handle: asyncio.TimerHandle | None = None
        self._closed = False

    def __len__(self) -> int:
        return len(self._heap)

    def after(self, seconds: float, action: Callable[[], None]) -> Timer:
        """Call `action` after a delay in seconds. Needs a running event loop."""
        due = self._clock.monotonic() + seconds
        timer = Timer(due, action)
        heapq.heappush(self._heap, (due, next(self._order), timer))
        if self._heap[0][2] is timer:
            self._rearm()
        return timer

    def run_due(self) -> int:
        """Run the actions that are due, earliest first, and return their number."""
        now = self._clock.monotonic() + _RESOLUTION_SECONDS
        done = 0
        while self._heap and self._heap[0][0] <= now:
            timer = heapq.heappop(self._heap)[2]
            action, timer.action = timer.action, None
            if action is None:
                continue
            done += 1
            try:
                action()
            except Exception:
                log.exception("the action of a timer failed")
        self._rearm()
        return done

    def clear(self) -> None:
        """Drop all actions that have not run."""
        self._heap.clear()
        self._rearm()

    def close(self) -> None:
        """Drop all actions that have not run, and never run one again."""
        self._closed = True
        self.clear()

    def _rearm(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        if self._closed or not self._heap:
            return
        wait = self._heap[0][0] - self._clock.monotonic()
        loop = asyncio.get_running_loop()
        self._handle = loop.call_later(min(max(wait, 0.0), _LOOK_AGAIN_SECONDS), self._fire)

    def _fire(self) -> None:
        self._handle = None
        self.run_due()
