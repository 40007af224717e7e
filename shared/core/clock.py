"""Time: the two clocks, how a jump of the wall clock is noticed, and how an instant is written.

Wall time (`Clock.now`) is for what the world stamps: timestamps of requests and events, tokens, schedules. It jumps,
forwards and backwards, when an administrator or NTP sets the machine's clock. Monotonic time (`Clock.monotonic`) is for
what waits: timeouts, back-off, leases, rate limits, ages of cached values. It never goes backwards and means nothing
outside its process (docs/decisions/0015).

Every instant in Lastro is UTC with microseconds, written as RFC 3339 text of one fixed width, so that text order is
time order in every store.
"""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

JUMP_SECONDS: Final = 2.0
"""From how many seconds on a step of the wall clock counts as a jump. NTP slews what is smaller."""


class Clock(Protocol):
    """A wall clock, which may be set, and a monotonic clock, which measures durations."""

    def now(self) -> datetime:
        """The wall time in UTC. It may be earlier than what was returned before."""
        ...

    def monotonic(self) -> float:
        """Seconds since some moment before the process began. Never less than what was returned before."""
        ...


class SystemClock:
    """The machine's clocks."""

    def now(self) -> datetime:
        """Return the wall time in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return the monotonic clock in seconds."""
        return time.monotonic()


class ManualClock:
    """Both clocks, standing still until a test moves them."""

    def __init__(self, start: datetime | None = None) -> None:
        self._now = start or datetime(2026, 1, 1, tzinfo=UTC)
        self._passed = timedelta(0)
        self._lock = threading.Lock()

    def now(self) -> datetime:
        """Return the wall time that the test has set, in UTC."""
        return self._now

    def monotonic(self) -> float:
        """Return the seconds by which `advance` has moved the clock."""
        return self._passed.total_seconds()

    def advance(self, step: timedelta) -> datetime:
        """Let `step` pass on both clocks and return the new wall time. Raises ValueError for a negative step."""
        if step < timedelta(0):
            raise ValueError("time does not pass backwards; `jump` sets the wall clock")
        with self._lock:
            self._now += step
            self._passed += step
            return self._now

    def jump(self, step: timedelta) -> datetime:
        """Set the wall clock forwards or (negative) backwards, while no time passes; return the new wall time."""
        with self._lock:
            self._now += step
            return self._now


class JumpWatch:
    """Compares the two clocks from check to check."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._difference = self._measure()

    def check(self) -> float:
        """By how many seconds the wall clock jumped since the last check (negative: backwards); 0.0 for no jump.

        A machine that slept counts as one whose wall clock jumped forwards where the system's monotonic clock stands
        still meanwhile (Linux).
        """
        before, self._difference = self._difference, self._measure()
        jump = self._difference - before
        return jump if abs(jump) >= JUMP_SECONDS else 0.0

    def _measure(self) -> float:
        return self._clock.now().timestamp() - self._clock.monotonic()


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_SECONDS_KNOWN: Final = 1024
_seconds_known: dict[tuple[int, int], str] = {}


def format_time(instant: datetime) -> str:
    """RFC 3339 text in UTC with microseconds: `2026-11-23T22:00:00.000000Z`."""
    # A payment writes a dozen times of the same few seconds: their text is remembered as far as the second.
    since = instant - _EPOCH
    second = (since.days, since.seconds)
    text = _seconds_known.get(second)
    if text is None:
        if len(_seconds_known) >= _MAX_SECONDS_KNOWN:
            _seconds_known.clear()
        text = _seconds_known[second] = instant.astimezone(UTC).isoformat(timespec="microseconds")[:20]
    return f"{text}{since.microseconds:06d}Z"


def parse_time(text: str) -> datetime:
    """The instant that RFC 3339 text names, in UTC. Raises ValueError when it names none or has no offset."""
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError("the time has no offset from UTC")
    return instant.astimezone(UTC)
