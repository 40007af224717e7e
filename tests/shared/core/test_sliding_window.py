"""Counting in a sliding window, compared with a log of every request."""

from __future__ import annotations

from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core import sliding_window
from shared.core.sliding_window import GROUPS, SECOND, SlidingWindows

STEP = SECOND // GROUPS
GAPS = st.lists(
    st.one_of(st.integers(0, 3), st.integers(0, 2 * STEP), st.integers(0, SECOND), st.just(SECOND)), max_size=80
)
"""Microseconds between requests."""


@given(gaps=GAPS, limit=st.integers(1, 12))
def test_no_window_has_more_than_the_limit(gaps: list[int], limit: int) -> None:
    """Whenever requests come, no window admits more than the limit; a request is refused only if the limit was admitted
    in a window that is a hundredth longer, and the number that remains is never too large."""
    windows = SlidingWindows()
    admitted: list[int] = []
    for now in accumulate(gaps):
        count = windows.take("k", limit, now)
        within = [time for time in admitted if now - time < SECOND]
        if count.admitted:
            admitted.append(now)
            assert len(within) < limit
            assert 0 <= count.remaining <= limit - len(within) - 1
        else:
            assert len([time for time in admitted if now - time < SECOND + STEP]) >= limit


@given(gaps=GAPS, limit=st.integers(1, 12))
def test_a_request_that_waits_as_told_is_admitted(gaps: list[int], limit: int) -> None:
    """A refused request is admitted after the time that it was told, if no other comes before."""
    windows = SlidingWindows()
    now = 0
    for gap in gaps:
        now += gap
        count = windows.take("k", limit, now)
        if not count.admitted:
            assert 0 < count.wait_seconds <= 1
            now += round(count.wait_seconds * SECOND)
            assert windows.take("k", limit, now).admitted


def test_a_key_has_a_bounded_number_of_groups() -> None:
    """However many requests come, a key has at most one more group than the window has parts."""
    windows = SlidingWindows()
    for now in range(0, 3 * SECOND, 700):
        windows.take("k", 20_000, now)
        assert len(windows._keys["k"].groups) <= GROUPS + 1


def test_keys_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound, the key that was not used for longest is dropped, and its window is empty."""
    monkeypatch.setattr(sliding_window, "MAX_KEYS", 2)
    windows = SlidingWindows()
    for key in ("a", "b", "a", "c"):
        windows.take(key, 2, 0)
    assert not windows.take("a", 2, 0).admitted
    assert windows.take("b", 1, 0).admitted
