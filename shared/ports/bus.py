"""The bus port: publishes committed events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from shared.core.envelope import Envelope


class Bus(Protocol):
    """Publishes events, each to the topic that it names."""

    @property
    def reads_the_outbox(self) -> bool:
        """Whether the bus reads the outbox as its own log, so that committed events need no call of `publish`."""
        ...

    async def publish(self, events: Sequence[Envelope]) -> None:
        """Publish events, each at least once. Raises Unavailable when the bus does not accept them."""
        ...
