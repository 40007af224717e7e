"""Fixtures that several folders of tests share."""

from __future__ import annotations

import pytest

from tests.harness import Harness


@pytest.fixture
async def harness() -> Harness:
    """Every function around the memory adapters, with one tenant, `acme`."""
    made = Harness.make()
    await made.tenant()
    return made


@pytest.fixture
async def crowded() -> Harness:
    """The same, with others cutting in between what a run reads and what it commits."""
    made = Harness.make(interleaved=True)
    await made.tenant()
    return made
