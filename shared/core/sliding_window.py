"""Counts requests in the time that has just passed: a sliding window, for many keys.

In no window of time are more requests admitted than the limit. A log of every request would be exact and large; here
requests that come within a hundredth of the window are one group, which is counted until its last one has left the
window. So a request may count for up to a hundredth longer than the window, never shorter, and a key has at most 101
groups. `shared/adapters/redis/rate_limits.py` has the same algorithm as a script.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Final, NamedTuple

SECOND: Final = 1_000_000
"""The window of a limit per second, in microseconds."""
GROUPS: Final = 100
"""Into how many parts a window is divided at most."""
MAX_KEYS: Final = 10_000


class Count(NamedTuple):
    """The outcome of counting one request."""

    admitted: bool
    remaining: int
    """How many more would be admitted now."""
    wait_seconds: float
    """After how long one will be admitted, when this one was not."""


class _Group:
    __slots__ = ("count", "first", "last")

    def __init__(self, first: int) -> None:
        self.first = self.last = first
        self.count = 1


class _Window:
    __slots__ = ("groups", "total")

    def __init__(self) -> None:
        self.groups: deque[_Group] = deque()
        self.total = 0


class SlidingWindows:
    """The counts of many keys in this process. `window` is its length in microseconds.

    When there are too many keys, the one that was not used for longest is dropped; its window is empty most likely.
    """

    def __init__(self, window: int = SECOND) -> None:
        self._window = window
        self._keys: OrderedDict[str, _Window] = OrderedDict()

    def take(self, key: str, limit: int, now: int) -> Count:
        """Count one request, unless the limit is reached. `now` is a time in microseconds that never goes back."""
        window = self._keys.get(key)
        if window is None:
            window = self._keys[key] = _Window()
            if len(self._keys) > MAX_KEYS:
                self._keys.popitem(last=False)
        else:
            self._keys.move_to_end(key)
        groups = window.groups
        while groups and now - groups[0].last >= self._window:
            window.total -= groups.popleft().count
        if window.total >= limit:
            return Count(admitted=False, remaining=0, wait_seconds=self._wait(window, limit, now) / SECOND)
        if groups and now - groups[-1].first < self._window // GROUPS:
            groups[-1].last = now
            groups[-1].count += 1
        else:
            groups.append(_Group(now))
        window.total += 1
        return Count(admitted=True, remaining=limit - window.total, wait_seconds=0.0)

    def _wait(self, window: _Window, limit: int, now: int) -> int:
        """Return the microseconds until enough groups have left the window."""
        left = window.total
        for group in window.groups:
            left -= group.count
            if left < limit:
                return group.last + self._window - now
        raise AssertionError("an empty window is below every limit")
