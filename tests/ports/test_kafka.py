"""The bus port on a real Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from typing import Any
from uuid import uuid4

import orjson
import pytest
from aiokafka import AIOKafkaConsumer

from events.catalogue import CATALOGUE
from events.export import schema_of
from shared.adapters.kafka.address import read_address
from shared.adapters.kafka.bus import KafkaBus, kafka_bus
from shared.adapters.kafka.topics import WantedTopic, apply
from shared.core.clock import ManualClock
from shared.core.envelope import Envelope
from shared.core.settings import Settings
from shared.messaging.kafka_binding import from_kafka
from shared.ports.documents import Unavailable
from shared.ports.lifecycle import AdapterOptions, NotOpened
from tests.ports.lifecycle_suite import LifecycleSuite
from tests.ports.port_uses import bus_uses
from tests.waiting import PATIENCE_SECONDS

SUITE_TOPIC = "lastro.suite.v1"
NOWHERE = "kafka://127.0.0.1:9"


def options(url: str, settings: Settings | None = None) -> AdapterOptions:
    """Return what the adapter is made from."""
    return AdapterOptions(url, frozenset({"bus"}), settings or Settings(), ManualClock(), list)


@pytest.fixture
async def bus_url(kafka_url: str) -> str:
    """Return the URL of a platform with topics of its own, which exist."""
    url = f"{kafka_url}?prefix=test-{uuid4().hex}."
    topics = {model.topic for model in CATALOGUE.values()} | {SUITE_TOPIC}
    wanted = [WantedTopic(topic, 3, 1, {}) for topic in sorted(topics)]
    await apply(read_address(url), Settings(), wanted, dry_run=False)
    return url


@pytest.fixture
async def bus(bus_url: str) -> AsyncIterator[KafkaBus]:
    """Return an open adapter."""
    async with kafka_bus(options(bus_url)) as opened:
        yield opened


async def read(bus: KafkaBus, topics: Sequence[str], number: int) -> list[Envelope]:
    """Return so many events from the beginning of topics."""
    names = [bus.address.on_server(topic) for topic in topics]
    servers = list(bus.address.servers)
    async with AIOKafkaConsumer(*names, bootstrap_servers=servers, auto_offset_reset="earliest") as consumer:
        async with asyncio.timeout(PATIENCE_SECONDS):
            records = [await consumer.getone() for _ in range(number)]
    for record in records:
        assert record.key is None or record.key.decode() == dict(record.headers)["ce_partitionkey"].decode()
    return [from_kafka(record.headers, record.value) for record in records]


def keyed(id: str) -> Envelope:
    """Return an event of a topic of the suite, with the key of all of them."""
    return Envelope.of({"id": id, "source": "/lastro/suite/x", "type": "suite.v1", "partitionkey": "ten_1/x"}, b"{}")


def example(schema: Mapping[str, Any], named: Mapping[str, Any]) -> Any:
    """Return a value that is valid for a schema of an event."""
    if "$ref" in schema:
        return example(named[schema["$ref"].rpartition("/")[2]], named)
    if "anyOf" in schema:
        return example(schema["anyOf"][0], named)
    if "enum" in schema:
        return schema["enum"][0]
    if schema["type"] == "object":
        return {name: example(part, named) for name, part in schema.get("properties", {}).items()}
    if schema["type"] == "array":
        return [example(schema["items"], named)]
    simple = {"string": "BRL" if "pattern" in schema else "ação", "integer": 2**62, "boolean": True, "null": None}
    return simple[schema["type"]]


def an_event(name: str) -> Envelope:
    """Return an event of a type, whose data is an example of its schema."""
    model = CATALOGUE[name]
    schema = schema_of(model)
    data = model.model_validate_json(orjson.dumps(example(schema, schema.get("$defs", {}))))
    attributes = {"tenantid": "ten_1", "partitionkey": f"ten_1/{name}"}
    time = "2026-01-01T00:00:00.000000Z"
    return Envelope(f"evt_{name}", "/lastro/x/y", name, "x", time, attributes, event=data, topic=model.topic)


class TestLifecycle(LifecycleSuite):
    """How the adapter is opened and closed."""

    @pytest.fixture
    def make(self, bus_url: str) -> Callable[[], KafkaBus]:
        return partial(kafka_bus, options(bus_url))

    @pytest.fixture
    def uses(self) -> Callable[[Any], Sequence[Callable[[], Any]]]:
        return bus_uses


async def test_every_type_of_event_makes_the_round_trip(bus: KafkaBus) -> None:
    """An event of each type is on the topic of its domain, keyed by partitionkey, with its attributes and data."""
    sent = {name: an_event(name) for name in CATALOGUE}
    await bus.publish(list(sent.values()))
    topics = sorted({model.topic for model in CATALOGUE.values()})
    found = {envelope.type: envelope for envelope in await read(bus, topics, len(sent))}
    for name, envelope in sent.items():
        assert found[name].attributes() == envelope.attributes()
        assert found[name].data == envelope.data
        assert type(found[name].parsed(CATALOGUE[name])) is CATALOGUE[name]


async def test_the_order_of_a_key_is_that_of_publication(bus: KafkaBus) -> None:
    """Events of one key are read in the order in which they were published, in one call and in several."""
    events = [keyed(f"e{number}") for number in range(200)]
    await bus.publish(events[:150])
    for each in events[150:]:
        await bus.publish([each])
    assert [each.id for each in await read(bus, [SUITE_TOPIC], 200)] == [each.id for each in events]


async def test_an_unknown_topic_is_unavailable(kafka_url: str) -> None:
    """An event for a topic that does not exist is not accepted, and the event stays in the outbox."""
    url = f"{kafka_url}?prefix=test-{uuid4().hex}."
    async with kafka_bus(options(url, Settings(bus_seconds=0.5))) as bus:
        with pytest.raises(Unavailable, match=r"^Kafka at 127\.0\.0\.1:\d+: "):
            await bus.publish([keyed("e1")])


async def test_a_full_buffer_is_unavailable(bus_url: str) -> None:
    """More bytes than the buffer holds are refused with the setting's name, and what is answered makes room again."""
    async with kafka_bus(options(bus_url, Settings(bus_buffer_bytes=3000))) as bus:
        with pytest.raises(Unavailable, match="LASTRO_BUS_BUFFER_BYTES"):
            await bus.publish([keyed(f"e{number}") for number in range(5)])
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                try:
                    await bus.publish([keyed("later")])
                except Unavailable:
                    await asyncio.sleep(0.01)
                else:
                    break


async def test_a_server_that_cannot_be_reached_is_named_in_one_line() -> None:
    """Opening fails within the setting's bound, with one line that has no password."""
    url = f"{NOWHERE}?sasl=PLAIN&username=u&password=hunter2"
    with pytest.raises(NotOpened, match=r"^LASTRO_BUS cannot be used: Kafka at 127\.0\.0\.1:9: .+$") as failed:
        await kafka_bus(options(url, Settings(start_seconds=0.1))).__aenter__()
    assert "hunter2" not in str(failed.value)
    assert "\n" not in str(failed.value)
