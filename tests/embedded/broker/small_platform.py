"""A small platform for tests: manifests as text, a log in memory that can lose its tail, and functions with a given
behaviour."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from embedded.broker.broker import Broker
from embedded.broker.delivery import ACCEPTED, Answer, PlainAnswer
from embedded.broker.plan import Plan, make_plan
from embedded.broker.state import Limits
from embedded.manifests.loading import Manifests, load
from shared.core.clock import ManualClock
from shared.core.envelope import Envelope
from shared.ports.documents import Commit
from tests.waiting import PATIENCE_SECONDS

SERVICE = """
apiVersion: serving.knative.dev/v1
kind: Service
metadata: {{name: {name}}}
spec:
  template:
    metadata:
      annotations: {{{annotations}}}
    spec:
      containerConcurrency: {concurrency}
      timeoutSeconds: 30
      containers:
        - image: dev.local/{name}
          env:
            - {{name: FUNCTION_TARGET, value: {target}}}
            - {{name: FUNCTION_SOURCE, value: {source}}}
"""
BROKER = """
apiVersion: eventing.knative.dev/v1
kind: Broker
metadata: {name: default, annotations: {eventing.knative.dev/broker.class: Kafka}}
spec:
  delivery:
    retry: 3
    backoffPolicy: exponential
    backoffDelay: PT0.2S
    deadLetterSink: {ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: parking}}
"""
SOURCE = """
apiVersion: sources.knative.dev/v1
kind: KafkaSource
metadata: {name: shop}
spec:
  bootstrapServers: [kafka:9092]
  topics: [lastro.shop.v1]
  sink: {ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: default}}
  delivery:
    deadLetterSink: {ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: parking}}
"""
TO_PARKING = "deadLetterSink: {ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: parking}}"
"""A `delivery` in YAML's flow style."""
TOPIC = """
apiVersion: kafka.strimzi.io/v1
kind: KafkaTopic
metadata: {{name: {topic}}}
spec: {{partitions: 12, replicas: 3}}
"""


def service(name: str, *, core: bool = True, concurrency: int = 0, source: str = "", target: str = "") -> str:
    """Return a Service for functions/shop/<name>.py."""
    stem = name.replace("-", "_")
    annotations = 'autoscaling.knative.dev/min-scale: "1"' if core else ""
    return SERVICE.format(
        name=name,
        annotations=annotations,
        concurrency=concurrency,
        target=target or stem,
        source=source or f"functions/shop/{stem}.py",
    )


def trigger(name: str, subscriber: str, *, ordered: bool = False, filter: str = "", delivery: str = "") -> str:
    """Return a Trigger. `filter` and `delivery` are flow-style YAML."""
    order = "{kafka.eventing.knative.dev/delivery.order: ordered}" if ordered else "{}"
    text = f"""
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {{name: {name}, annotations: {order}}}
spec:
  broker: default
  subscriber: {{ref: {{apiVersion: serving.knative.dev/v1, kind: Service, name: {subscriber}}}}}
"""
    if filter:
        text += f"  filters: {filter}\n"
    if delivery:
        text += f"  delivery: {delivery}\n"
    return text


def write(root: Path, *documents: str) -> Manifests:
    """Write the manifests into the folders of a repository, and read them."""
    (root / "knative").mkdir(exist_ok=True)
    (root / "kafka-sources").mkdir(exist_ok=True)
    (root / "knative" / "all.yaml").write_text("---".join(documents))
    return load(root)


def plan_of(root: Path, *documents: str) -> Plan:
    """Return the plan of a Broker, a source, a parking function and these documents."""
    usual = (BROKER, SOURCE, TOPIC.format(topic="lastro.shop.v1"), service("parking"))
    return make_plan(write(root, *usual, *documents))


def event(
    number: int,
    type: str = "sold",
    *,
    tenant: str = "acme",
    key: str = "",
    source: str = "/lastro/shop/sell",
    **more: str,
) -> Envelope:
    """Return an event of the shop."""
    extensions = {
        "tenantid": tenant,
        "partitionkey": f"{tenant}/{key or number}",
        "correlationid": f"req_{number}",
        **more,
    }
    return Envelope(
        id=f"evt_{number}",
        source=source,
        type=type,
        subject=key or str(number),
        time="2026-01-01T00:00:00.000000Z",
        extensions=extensions,
        data=b'{"n":%d}' % number,
    )


class Entry(NamedTuple):
    sequence: int
    envelope: Envelope


_Saved = tuple[list[Envelope], int, set[tuple[str, str, str]], set[tuple[int, str]], list[tuple[str, str, str]]]


class MemoryLog:
    """The event log and the part of the documents port that the broker uses. With `lazy`, only `save` makes events
    durable; `lose` drops the others."""

    has_inbox = True

    def __init__(self, *, lazy: bool = False) -> None:
        self.entries: list[Envelope] = []
        self.low_water_mark = 0
        self.markers: set[tuple[str, str, str]] = set()
        self.acknowledgements: set[tuple[int, str]] = set()
        self.broken_promises: list[tuple[str, str, bool]] = []
        """Deliveries to consumers that had already applied the event."""
        self.lazy = lazy
        self._listeners: list[Callable[[int, Sequence[Envelope]], None]] = []
        self._resets: list[Callable[[], None]] = []
        self.effects: list[tuple[str, str, str]] = []
        """The consumer, key and event of each effect, in order; a lost batch takes its effects with it."""
        self._saved: _Saved = ([], 0, set(), set(), [])

    @property
    def documents(self) -> Any:
        return self

    @property
    def head_sequence(self) -> int:
        return len(self.entries)

    def subscribe(self, listener: Callable[[int, Sequence[Envelope]], None]) -> None:
        self._listeners.append(listener)

    def on_reset(self, callback: Callable[[], None]) -> None:
        self._resets.append(callback)

    def acknowledge(self, sequence: int, consumer: str) -> None:
        self.acknowledgements.add((sequence, consumer))

    def applied(self, consumer: str, envelope: Envelope) -> bool:
        return (consumer, envelope.source, envelope.id) in self.markers

    def acknowledged(self, consumer: str, sequence: int, envelope: Envelope) -> bool:
        return self.applied(consumer, envelope) or (sequence, consumer) in self.acknowledgements

    def pending_events(self, from_sequence: int, limit: int) -> Sequence[Any]:
        start = max(from_sequence, 1)
        found = self.entries[start - 1 : start - 1 + limit]
        return [Entry(start + position, envelope) for position, envelope in enumerate(found)]

    def log(self, *envelopes: Envelope) -> None:
        """Commit events."""
        first = len(self.entries) + 1
        self.entries += envelopes
        for listener in self._listeners:
            listener(first, envelopes)

    async def commit(self, commit: Commit) -> None:
        self.log(*commit.events)

    on_finished: Callable[[int], None] | None = None

    async def append(self, envelope: Envelope) -> None:
        await self.commit(Commit("-", events=[envelope]))

    async def durable(self) -> None:
        if not self.lazy:
            self.save()

    def save(self) -> None:
        """Make all events up to now durable."""
        self._saved = (
            list(self.entries),
            self.low_water_mark,
            set(self.markers),
            set(self.acknowledgements),
            list(self.effects),
        )

    def lose(self) -> None:
        """Drop the events that are not durable."""
        entries, mark, markers, acknowledgements, effects = self._saved
        self.effects = list(effects)
        self.entries, self.low_water_mark = list(entries), mark
        self.markers, self.acknowledgements = set(markers), set(acknowledgements)

    def reset(self) -> None:
        """Lose a batch and call the reset listeners."""
        self.lose()
        for callback in self._resets:
            callback()

    def remove_listeners(self) -> None:
        """Remove the listeners of a killed process."""
        self._listeners.clear()
        self._resets.clear()


Behaviour = Callable[[str, Envelope, bool], Awaitable[Answer]]


@dataclass
class Shop:
    """Functions that record the events that they receive; `behaviour` returns their answers."""

    log: MemoryLog
    plan: Plan
    given: list[tuple[str, Envelope, bool]] = field(default_factory=list)
    behaviour: dict[str, Behaviour] = field(default_factory=dict)

    async def invoke(self, name: str, envelope: Envelope, first: bool) -> Answer:
        self.given.append((name, envelope, first))
        marker = (self.plan.services[name].consumer, envelope.source, envelope.id)
        if marker in self.log.markers and name != "parking":
            self.log.broken_promises.append((name, envelope.id, first))
        behaviour = self.behaviour.get(name)
        answer = ACCEPTED if behaviour is None else await behaviour(name, envelope, first)
        if answer.status == 204:
            self.log.markers.add(marker)
            self.log.effects.append((name, envelope.partition_key, envelope.id))
        return answer

    def ids(self, name: str) -> list[str]:
        """Return the ids of the events that a function received, in order."""
        return [envelope.id for given, envelope, _ in self.given if given == name]


def answering(*statuses: int) -> Behaviour:
    """Return a behaviour that answers with these statuses one after the other, and then always with the last."""
    left = list(statuses)

    async def behave(name: str, envelope: Envelope, first: bool) -> Answer:
        status = left.pop(0) if len(left) > 1 else left[0]
        return ACCEPTED if status == 204 else PlainAnswer(status, {"Kne-Code": "told_so"}, b"why" * 1000)

    return behave


@dataclass
class Stage:
    """All objects of a broker test."""

    broker: Broker
    log: MemoryLog
    shop: Shop
    clock: ManualClock

    async def settled(self) -> None:
        """Wait until everything is delivered except deliveries that wait for the clock."""
        assert await self.broker.idle(PATIENCE_SECONDS)

    async def crash(self, limits: Limits | None = None) -> Stage:
        """Kill the process and start another on the durable events."""
        self.log.remove_listeners()
        self.broker._running = False
        self.broker.timers.close()
        self.broker._workers.abandon()
        self.log.lose()
        return await start(self.shop.plan, self.log, clock=self.clock, limits=limits)


async def start(
    plan: Plan, log: MemoryLog | None = None, *, clock: ManualClock | None = None, limits: Limits | None = None
) -> Stage:
    """Start a broker with the plan."""
    log = log or MemoryLog()
    clock = clock or ManualClock()
    shop = Shop(log, plan)
    broker = Broker(plan, log, clock, shop.invoke, limits)
    await broker.start()
    return Stage(broker, log, shop, clock)
