"""Time: the two clocks, the detection of jumps of the wall clock, and the text form of times.

Use wall time (`Clock.now`) for timestamps of requests and events, tokens and schedules. It jumps forwards and backwards
when an administrator or NTP sets the machine's clock. Use monotonic time (`Clock.monotonic`) for timeouts, back-off,
leases, rate limits and ages of cached values. It never decreases, and has no meaning outside its process
(docs/decisions/0015).

Every time in Lastro is UTC with microseconds, written as RFC 3339 text of one fixed width, so that every store can
order times as text.
"""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

JUMP_SECONDS: Final = 2.0
"""The smallest step of the wall clock that counts as a jump, in seconds. NTP corrects smaller differences by slewing.
"""


class Clock(Protocol):
    """A wall clock, which may be set, and a monotonic clock, which measures durations."""

    def now(self) -> datetime:
        """Return the wall time in UTC. It may be earlier than an earlier result, because the clock can be set back."""
        ...

    def monotonic(self) -> float:
        """Return the seconds since an unspecified moment before the process started. Never less than an earlier
        result."""
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
    """Both clocks, stopped until a test moves them."""

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
        """Move both clocks forwards by `step`, and return the new wall time. Raises ValueError for a negative step."""
        if step < timedelta(0):
            raise ValueError("the step is negative; use `jump` to set the wall clock back")
        with self._lock:
            self._now += step
            self._passed += step
            return self._now

    def jump(self, step: timedelta) -> datetime:
        """Move only the wall clock, forwards or (negative) backwards, and return the new wall time."""
        with self._lock:
            self._now += step
            return self._now


class JumpWatch:
    """Detects jumps of the wall clock by comparing it with the monotonic clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._difference = self._measure()

    def check(self) -> float:
        """Return the seconds by which the wall clock jumped since the last check (negative: backwards); 0.0 for no
        jump.

        On Linux the monotonic clock stops while the machine is suspended, so a suspension is reported as a jump
        forwards.
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
    """Return the time as RFC 3339 text in UTC with microseconds: `2026-11-23T22:00:00.000000Z`."""
    # A payment formats a dozen times of the same few seconds, so the text up to the second is cached.
    since = instant - _EPOCH
    second = (since.days, since.seconds)
    text = _seconds_known.get(second)
    if text is None:
        if len(_seconds_known) >= _MAX_SECONDS_KNOWN:
            _seconds_known.clear()
        text = _seconds_known[second] = instant.astimezone(UTC).isoformat(timespec="microseconds")[:20]
    return f"{text}{since.microseconds:06d}Z"


def parse_time(text: str) -> datetime:
    """Return the time of an RFC 3339 text, in UTC. Raises ValueError for other text, and for a time without an
    offset."""
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError("the time has no offset from UTC")
    return instant.astimezone(UTC)
