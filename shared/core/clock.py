"""Time: where it comes from and how it is written.

Every instant in Lastro is UTC with microseconds, written as RFC 3339 text of one fixed width, so that
text order is time order in every store.
"""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol


class Clock(Protocol):
    """A source of the current time that never goes backwards."""

    def now(self) -> datetime:
        """The current instant, in UTC."""
        ...


class SystemClock:
    """The machine's clock, held back from running backwards when the machine's time is corrected."""

    def __init__(self) -> None:
        self._last = datetime.min.replace(tzinfo=UTC)

    def now(self) -> datetime:
        current = datetime.now(UTC)
        if current > self._last:
            self._last = current
        return self._last


class ManualClock:
    """A clock that stands still until a test moves it."""

    def __init__(self, start: datetime | None = None) -> None:
        self._now = start or datetime(2026, 1, 1, tzinfo=UTC)
        self._lock = threading.Lock()

    def now(self) -> datetime:
        return self._now

    def advance(self, step: timedelta) -> datetime:
        """Move forward by `step` and return the new time. Raises ValueError for a step backwards."""
        if step < timedelta(0):
            raise ValueError("a clock does not go backwards")
        with self._lock:
            self._now += step
            return self._now


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
