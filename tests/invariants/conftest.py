"""The worlds in which the invariants are tested."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from tests.invariants.world import World

Make = Callable[[int], Awaitable[World]]
"""Called with a seed."""


@pytest.fixture(params=["one process", "two processes"])
def make(request: pytest.FixtureRequest) -> Make:
    """Return a world of one process on stores in memory whose every call suspends, or of two processes on hostile
    stores."""
    return World.hostile if request.param == "two processes" else partial(World.in_memory, interleaved=True)
