"""The bus port of the embedded store: the log that the broker delivers from is the outbox."""

from __future__ import annotations

from collections.abc import Sequence

from shared.core.envelope import Envelope


class LogBus:
    """A committed event is in the broker's log by the commit that made it."""

    reads_the_outbox = True

    async def publish(self, events: Sequence[Envelope]) -> None:
        """Do nothing: the events are in the log already."""
