"""The broker's log on Kafka: it reads the topics of KafkaSources and Brokers in a consumer group, and appends to them.

One group reads for all Triggers and sources, in place of Knative's one for each of them. Functions check their inbox
for every event, because Kafka delivers at least once. Offsets are committed only behind the outcome of every earlier
event of a partition, so nothing else is recorded.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import orjson

from embedded.broker.plan import UNREADABLE, Plan
from embedded.broker.state import Limits
from shared.adapters.kafka.bus import KafkaBus
from shared.adapters.kafka.group import GroupReader, Record
from shared.core.clock import format_time
from shared.core.envelope import ROUTE, Envelope
from shared.core.settings import Settings
from shared.messaging.attributes import InvalidEvent
from shared.messaging.kafka_binding import from_kafka
from shared.ports.lifecycle import Adapter

RECORD_TYPE: Final = "dev.knative.kafka.event"
"""Type of the event that replaces a record that is not a CloudEvent, as in Knative's KafkaSource."""
_VALUE_BYTES: Final = 16 * 1024
_REASON_CHARACTERS: Final = 200

Listener = Callable[[int, Sequence[Envelope]], None]


class Withdraws(Protocol):
    """The part that delivers the events: the broker."""

    async def withdraw(self, grace_seconds: float) -> None:
        """Give back every event, after at most this number of seconds."""
        ...


class KafkaLog(Adapter):
    """The event log of `lastro up` on the Kafka of LASTRO_BUS. Open it after the broker has started.

    A sequence number is the position of an event among those that this process has read.
    """

    adapter_name = "reader of events"
    has_inbox = False
    head_sequence = 0

    def __init__(self, plan: Plan, bus: KafkaBus, settings: Settings) -> None:
        self._plan = plan
        self._bus = bus
        self._settings = settings
        self._broker_topics = {broker: topic for topic, broker in plan.broker_topics.items()}
        self._records: dict[int, Record] = {}
        self._sequence = 0
        self._listener: Listener | None = None
        self.low_water_mark = 1
        self.broker: Withdraws | None = None
        """Set before the log is opened."""
        topics = sorted(plan.topics.keys() | plan.broker_topics.keys())
        self._reader = GroupReader(bus.address, settings, topics, self)

    @property
    def limits(self) -> Limits:
        """The limits of a broker that reads this log: the log itself bounds the events in memory."""
        return Limits(events_in_memory=self._settings.bus_events_in_memory + 1)

    @property
    def group(self) -> str:
        """Name of the consumer group."""
        return self._reader.group

    def lag(self) -> Mapping[tuple[str, int], int]:
        """Return the number of unfinished events of each partition that this process reads (topic and number)."""
        return self._reader.lag()

    async def trouble(self) -> str | None:
        """Return why no events can be read at present, or None."""
        return await super().trouble() or await self._reader.trouble()

    async def _open(self, closing: AsyncExitStack) -> None:
        await self._reader.__aenter__()
        closing.push_async_callback(self._reader.aclose)

    # What the broker calls

    def subscribe(self, listener: Listener) -> None:
        """Call the listener with the events that are read, and the sequence number of the first."""
        self._listener = listener

    def on_reset(self, callback: Callable[[], None]) -> None:
        """Do nothing: a log on Kafka loses no events."""

    def acknowledge(self, sequence: int, consumer: str) -> None:
        """Do nothing: the offset records an event whose consumers have all finished."""

    def applied(self, consumer: str, envelope: Envelope) -> bool:  # noqa: ARG002 - the log's signature
        """Return False: only the document store knows, and the function checks it."""
        return False

    def acknowledged(self, consumer: str, sequence: int, envelope: Envelope) -> bool:  # noqa: ARG002 - as above
        """Return False, as `applied` does."""
        return False

    def pending_events(self, from_sequence: int, limit: int) -> Sequence[Any]:  # noqa: ARG002 - as above
        """Return nothing: events that an earlier process did not finish are read again, like new events."""
        return ()

    async def append(self, envelope: Envelope) -> None:
        """Publish an event to the topic that its attribute ROUTE names. Raises Unavailable."""
        kind, _, name = envelope.extensions[ROUTE].partition("/")
        await self._bus.publish_to(self._broker_topics[name] if kind == "broker" else name, envelope)

    async def durable(self) -> None:
        """Do nothing: `append` returns when the event is on every in-sync replica."""

    def on_finished(self, sequence: int) -> None:
        """Record that all consumers of an event have finished it."""
        record = self._records.pop(sequence, None)
        if record is not None:
            record.finish()

    # What the reader calls

    def received(self, records: Sequence[Record]) -> None:
        """Pass records to the broker, as events."""
        first = self._sequence + 1
        events = [self._event_of(record) for record in records]
        for record in records:
            self._sequence += 1
            self._records[self._sequence] = record
        if self._listener is not None:
            self._listener(first, events)

    async def revoked(self) -> None:
        """Give back the unfinished events of this process, after the deliveries in flight."""
        if self.broker is not None:
            await self.broker.withdraw(self._settings.bus_rebalance_seconds)
        self._records.clear()

    def _event_of(self, record: Record) -> Envelope:
        value = record.value or b""
        limit = self._settings.max_event_bytes
        try:
            if len(value) > limit:
                return self._unreadable(record, "payload_too_large", f"the record has more than {limit} bytes")
            envelope = from_kafka(record.headers, value).without_extension(ROUTE)
        except InvalidEvent as error:
            return self._unreadable(record, "malformed_request", f"the record is not a CloudEvent: {error}")
        if envelope.topic == record.topic:
            return envelope
        return envelope.with_extensions({ROUTE: f"topic/{record.topic}"})

    def _unreadable(self, record: Record, code: str, reason: str) -> Envelope:
        """Return an event that replaces an unreadable record, for the dead letters."""
        value = record.value or b""
        data = {
            "topic": record.topic,
            "partition": record.partition,
            "offset": record.offset,
            "bytes": len(value),
            "value_base64": base64.b64encode(value[:_VALUE_BYTES]).decode(),
        }
        target = self._plan.unreadable_targets.get(record.topic)
        return Envelope(
            id=f"partition:{record.partition}/offset:{record.offset}",
            source=f"/kafka/{record.topic}",
            type=RECORD_TYPE,
            subject=f"partition:{record.partition}#{record.offset}",
            time=format_time(datetime.fromtimestamp(record.time_ms / 1000, UTC)),
            extensions={
                ROUTE: f"{UNREADABLE}/{record.topic}",
                "knativeerrordest": record.topic if target is None else target.url,
                "knativeerrorcode": "400",
                "code": code,
                "detail": reason[:_REASON_CHARACTERS].encode("ascii", "replace").decode(),
            },
            data=orjson.dumps(data),
        )
