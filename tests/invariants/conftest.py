"""The worlds that what must hold is tested in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from tests.invariants.world import World

Make = Callable[[int], Awaitable[World]]
"""Called with a seed."""


@pytest.fixture(params=["one process", "two processes"])
def make(request: pytest.FixtureRequest) -> Make:
    """One process on stores in memory, each call of which lets others go first; or two, on stores that misbehave."""
    return World.hostile if request.param == "two processes" else partial(World.in_memory, interleaved=True)
