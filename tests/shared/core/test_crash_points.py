"""Crash points do nothing unless one is armed; the armed one kills the process at its n-th pass."""

from __future__ import annotations

import os
import signal

import pytest

from shared.core import crash_points


@pytest.mark.parametrize(("text", "passes"), [("store.decided", 1), ("store.decided:1", 1), ("store.decided:3", 3)])
def test_the_armed_point_kills_at_its_pass(monkeypatch: pytest.MonkeyPatch, text: str, passes: int) -> None:
    """The process is killed with SIGKILL when it reaches the armed point for the n-th time; other points do nothing."""
    reached = 0
    kills: list[tuple[int, int]] = []
    monkeypatch.setattr(crash_points, "_armed", crash_points._Armed(text))
    monkeypatch.setattr(os, "kill", lambda pid, number: kills.append((pid, number)))
    while not kills:
        crash_points._reach("store.submitting")
        assert kills == []
        crash_points._reach("store.decided")
        reached += 1
    assert reached == passes
    assert kills == [(os.getpid(), signal.SIGKILL)]


def test_a_misspelt_point_is_refused_with_the_names_of_all() -> None:
    """A value of LASTRO_CRASH_AT that is not the name of a point is refused, and the error lists the names."""
    with pytest.raises(ValueError, match=r"LASTRO_CRASH_AT=.* is not a crash point") as caught:
        crash_points._Armed("store.decide:2")
    assert all(name in str(caught.value) for name in crash_points.NAMES)


def test_nothing_is_armed_without_the_variable() -> None:
    """Without the variable, a point costs one call of a builtin function."""
    assert os.environ.get(crash_points.VARIABLE) is None
    assert crash_points.reach is id
    crash_points._reach("store.decided")
