"""Things to be done at a time of the platform's clock, which a test can move."""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import count
from typing import Final

from shared.core.clock import Clock

log = logging.getLogger(__name__)
_LOOK_AGAIN_SECONDS: Final = 1.0


class Timer:
    """One thing to be done; `cancel` makes it never happen."""

    __slots__ = ("action", "due")

    def __init__(self, due: datetime, action: Callable[[], None]) -> None:
        self.due = due
        self.action: Callable[[], None] | None = action

    def cancel(self) -> None:
        self.action = None


class Timers:
    """Calls actions on the event loop once the clock has reached their time.

    The loop sleeps until the earliest is due and never longer than a second, so that a clock that was moved
    (or a machine that slept) is noticed; a test that moves the clock calls `run_due` itself.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heap: list[tuple[datetime, int, Timer]] = []
        self._order = count()
        self._handle: asyncio.TimerHandle | None = None
        self._closed = False

    def __len__(self) -> int:
        return len(self._heap)

    def at(self, due: datetime, action: Callable[[], None]) -> Timer:
        """Call `action` at `due`, or soon when that has passed. Needs a running loop."""
        timer = Timer(due, action)
        heapq.heappush(self._heap, (due, next(self._order), timer))
        if self._heap[0][2] is timer:
            self._rearm()
        return timer

    def after(self, seconds: float, action: Callable[[], None]) -> Timer:
        """Call `action` so many seconds from now."""
        return self.at(self._clock.now() + timedelta(seconds=seconds), action)

    def run_due(self) -> int:
        """Do what is due by the clock, earliest first, and return how many actions that was."""
        now = self._clock.now()
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
                log.exception("a timer's action failed")
        self._rearm()
        return done

    def clear(self) -> None:
        """Forget everything."""
        self._heap.clear()
        self._rearm()

    def close(self) -> None:
        """Forget everything and do nothing more."""
        self._closed = True
        self.clear()

    def _rearm(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        if self._closed or not self._heap:
            return
        wait = (self._heap[0][0] - self._clock.now()).total_seconds()
        loop = asyncio.get_running_loop()
        self._handle = loop.call_later(min(max(wait, 0.0), _LOOK_AGAIN_SECONDS), self._fire)

    def _fire(self) -> None:
        self._handle = None
        self.run_due()
