"""What was certainly never stored: answered from memory, because nearly every new id is greater than the old ones.

A primary key look-up in SQLite costs 5 µs, and a payment makes a dozen rows that must be absent.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class _Window:
    """Knows every id above `high`, and nothing about those below."""

    __slots__ = ("high", "ids")

    def __init__(self, high: str) -> None:
        self.high = high
        self.ids: set[str] = set()


class RecentIds(Generic[K]):
    """A window of the greatest ids for each key; bounded in keys and in ids a key.

    `greatest(key)` reads the greatest id there is, in the store or on the way to it ("" for none); it is called
    when a window is opened. Ids are compared as SQLite compares text (by code point).
    """

    def __init__(self, greatest: Callable[[K], str], *, keys: int = 512, ids: int = 8192) -> None:
        self._greatest = greatest
        self._keys = keys
        self._ids = ids
        self._windows: OrderedDict[K, _Window] = OrderedDict()
        self.forgets = False
        """Whether a window was ever let go for another: until then an id that is being stored is in one."""

    def certainly_absent(self, key: K, id: str) -> bool:
        """Whether this id was never stored; False means that the store must be asked."""
        window = self._windows.get(key)
        if window is None:
            window = self._open(key)
        return id > window.high and id not in window.ids

    def add(self, key: K, id: str) -> None:
        """Note that an id is being stored."""
        window = self._windows.get(key)
        if window is None:
            window = self._open(key)
        if id <= window.high:
            return
        window.ids.add(id)
        if len(window.ids) > self._ids:
            ordered = sorted(window.ids)
            half = len(ordered) // 2
            window.high = ordered[half]
            window.ids = set(ordered[half + 1 :])

    def clear(self) -> None:
        """Forget everything; windows are opened anew."""
        self._windows.clear()

    def _open(self, key: K) -> _Window:
        window = self._windows[key] = _Window(self._greatest(key))
        if len(self._windows) > self._keys:
            self._windows.popitem(last=False)
            self.forgets = True
        return window
