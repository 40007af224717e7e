"""`python -m tests.invariants.armed`: the command line in a copy of a process that has imported the platform.

The module of the crash points reads the environment when it is imported. In a copy that has happened already, with the
environment of the process that was copied, which had armed some point. Two more variables, CLOCK and SWEEPS, set the
wall clock of the process wrong and let its schedules tick more often.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from cli.main import main
from embedded.broker import schedules
from shared.core import crash_points
from shared.core.clock import SystemClock

CLOCK: Final = "TESTS_CLOCK_SECONDS"
"""The variable with the number of seconds by which the process's wall clock is fast."""
SWEEPS: Final = "TESTS_SWEEP_SECONDS"
"""The variable with the number of seconds between two ticks of every schedule; otherwise it is at least a minute."""


def _fast_now(_clock: SystemClock) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=float(os.environ[CLOCK]))


class _Often:
    """A schedule that ticks after a fixed time. It takes the place of embedded.manifests.cron.Cron."""

    def __init__(self, *_: Any) -> None:
        self._pause = timedelta(seconds=float(os.environ[SWEEPS]))

    def next_after(self, moment: datetime) -> datetime:
        """Return the time of the next tick."""
        return moment + self._pause


if __name__ == "__main__":
    assert crash_points.reach is crash_points._reach
    point = os.environ.get(crash_points.VARIABLE)
    crash_points._armed = crash_points._Armed(point) if point else None
    if CLOCK in os.environ:
        setattr(SystemClock, "now", _fast_now)  # noqa: B010 - as below
    if SWEEPS in os.environ:
        setattr(schedules, "Cron", _Often)  # noqa: B010 - for the type checker, it has another type
    main()
