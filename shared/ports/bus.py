"""The bus port: where committed events go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from shared.core.envelope import Envelope


class Bus(Protocol):
    """Publishes events to the topic of their domain."""

    @property
    def reads_the_outbox(self) -> bool:
        """Whether a committed event reaches the topic without being handed over: the outbox is the bus's own log."""
        ...

    async def publish(self, events: Sequence[Envelope]) -> None:
        """Hand events over, each at least once. Raises Unavailable when the bus does not take them."""
        ...

    async def progress(self, correlation_id: str, timeout_seconds: float) -> bool:
        """Wait until it is worth looking again at what a request set going, at most so long.

        False when deliveries that it caused are known to be under way still; True when none is, as far as
        the bus can know.
        """
        ...
