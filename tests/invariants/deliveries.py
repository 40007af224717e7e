"""The deliveries of events: which function gets each event, by the manifests, and the pool in which they wait."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from embedded.broker.plan import Plan, Subscription, ToService, make_plan
from embedded.manifests.loading import load
from shared.core.envelope import Envelope
from shared.functions.decorators import operation_of
from shared.functions.operation import Operation
from shared.http.operation import HttpOperation
from shared.messaging.operation import EventOperation
from shared.ports.bus import Bus

ROOT: Final = Path(__file__).resolve().parents[2]


@cache
def the_plan() -> Plan:
    """The wiring of the repository."""
    return make_plan(load(ROOT))


@cache
def operations() -> dict[str, Operation]:
    """Return every deployed function, by the name of its Service."""
    found: dict[str, Operation] = {}
    for name, service in the_plan().services.items():
        operation = operation_of(getattr(importlib.import_module(service.module), service.target))
        assert operation is not None, name
        found[name] = operation
    return found


def http_operations() -> list[HttpOperation]:
    """Every operation behind a path."""
    return [operation for operation in operations().values() if isinstance(operation, HttpOperation)]


@dataclass(slots=True, eq=False)
class Pending:
    """A delivery in the pool."""

    subscription: Subscription
    envelope: Envelope
    consumer: EventOperation
    attempts: int = 0
    copied: bool = False


class Pool:
    """The bus. A published event becomes one delivery for each consumer."""

    reads_the_outbox = False

    def __init__(self) -> None:
        self.pending: list[Pending] = []
        self.published: list[Envelope] = []

    async def publish(self, events: Iterable[Envelope]) -> None:
        for envelope in events:
            self.published.append(envelope)
            self.pending += deliveries_of(envelope)

    async def progress(self, correlation_id: str, timeout_seconds: float) -> bool:
        return True


class KeptBus:
    """A bus whose events also go into the pool."""

    reads_the_outbox = False

    def __init__(self, bus: Bus, pool: Pool) -> None:
        self._bus = bus
        self._pool = pool

    async def publish(self, events: Sequence[Envelope]) -> None:
        await self._bus.publish(events)
        await self._pool.publish(events)


def deliveries_of(envelope: Envelope) -> list[Pending]:
    """Return the deliveries of an event according to the manifests."""
    found = []
    for route in the_plan().routes(envelope):
        if route.rest is None or route.rest(envelope):
            assert isinstance(route.subscription.target, ToService)
            consumer = operations()[route.subscription.target.name]
            assert isinstance(consumer, EventOperation)
            found.append(Pending(route.subscription, envelope, consumer))
    return found
