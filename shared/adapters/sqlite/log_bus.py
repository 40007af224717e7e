"""The bus port of the embedded store, whose outbox is the log from which the broker delivers."""

from __future__ import annotations

from collections.abc import Sequence

from shared.core.envelope import Envelope
from shared.ports.lifecycle import Adapter


class LogBus(Adapter):
    """The bus port. A commit adds its events to the broker's log, so there is nothing to publish."""

    adapter_name = "bus"

    reads_the_outbox = True

    async def publish(self, events: Sequence[Envelope]) -> None:  # noqa: ARG002 - the port's signature
        """Do nothing: the events are in the log already."""
        self.require_open()
