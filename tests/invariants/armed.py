"""`python -m tests.invariants.armed`: the command line in a copy of a process that has imported the platform.

The module of the crash points reads the environment when it is imported. In a copy that has happened already, with the
environment of the process that was copied, which had armed some point.
"""

from __future__ import annotations

import os

from cli.main import main
from shared.core import crash_points

if __name__ == "__main__":
    assert crash_points.reach is crash_points._reach
    point = os.environ.get(crash_points.VARIABLE)
    crash_points._armed = crash_points._Armed(point) if point else None
    main()
