"""A harness that may send webhooks to this machine, and a receiver."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from tests.functions.webhooks.hooks import SETTINGS
from tests.functions.webhooks.receiver import Receiver, receiving
from tests.harness import Harness


@pytest.fixture
async def hooks() -> Harness:
    """A harness with a tenant, in the present: the verifier of Standard Webhooks compares times with this machine's."""
    made = Harness.make(settings=SETTINGS)
    made.clock.jump(datetime.now(UTC) - made.clock.now())
    await made.tenant()
    return made


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver that accepts everything."""
    async with receiving() as running:
        yield running
