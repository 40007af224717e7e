"""A broker on a real Kafka, for tests: topics and a group of its own, and functions with a given behaviour."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from embedded.broker.broker import Broker
from embedded.broker.kafka_log import KafkaLog
from embedded.broker.plan import Plan
from shared.adapters.kafka.address import read_address
from shared.adapters.kafka.bus import KafkaBus
from shared.adapters.kafka.topics import WantedTopic, apply
from shared.core.clock import ManualClock
from shared.core.settings import Settings
from tests.embedded.broker.small_platform import MemoryLog, Shop, plan_of, service, trigger
from tests.waiting import PATIENCE_SECONDS

TOPIC = "lastro.shop.v1"
BROKER_TOPIC = "knative-broker-default-default"


def shop_plan(root: Path, *, ordered: bool = False) -> Plan:
    """Return the plan of one function that receives every event that was sold."""
    filter = "[{exact: {type: sold}}]"
    return plan_of(root, service("billing"), trigger("billing", "billing", ordered=ordered, filter=filter))


async def make_topics(url: str, partitions: int = 1) -> None:
    """Create the topics of the shop and of its Broker."""
    wanted = [WantedTopic(topic, partitions, 1, {}) for topic in (TOPIC, BROKER_TOPIC)]
    await apply(read_address(url), Settings(), wanted, dry_run=False)


@dataclass
class KafkaStage:
    """The objects of a broker test on Kafka."""

    bus: KafkaBus
    log: KafkaLog
    broker: Broker
    shop: Shop
    clock: ManualClock

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not condition():  # noqa: ASYNC110 - the condition is the server's
                await asyncio.sleep(0.01)

    async def received(self, name: str, ids: Sequence[str]) -> None:
        """Wait until a function has received these events."""
        await self.until(lambda: set(ids) <= set(self.shop.ids(name)))


@asynccontextmanager
async def on_kafka(
    url: str,
    plan: Plan,
    settings: Settings | None = None,
    prepare: Callable[[Shop], object] = lambda _: None,
    grace_seconds: float = 5.0,
) -> AsyncIterator[KafkaStage]:
    """Run a broker on Kafka. `prepare` sets the behaviour of its functions before events arrive."""
    settings, clock = settings or Settings(), ManualClock()
    async with KafkaBus(read_address(url), settings) as bus:
        log = KafkaLog(plan, bus, settings)
        shop = Shop(MemoryLog(), plan)
        prepare(shop)
        broker = Broker(plan, log, clock, shop.invoke, log.limits)
        log.broker = broker
        await broker.start()
        try:
            async with log:
                try:
                    yield KafkaStage(bus, log, broker, shop, clock)
                finally:
                    await broker.stop(grace_seconds)
        finally:
            await broker.stop(0)


async def committed(url: str) -> dict[tuple[str, int], int]:
    """Return the offsets that the group has committed, by topic and partition."""
    address = read_address(url)
    admin = AIOKafkaAdminClient(bootstrap_servers=list(address.servers))
    await admin.start()
    try:
        found = await admin.list_consumer_group_offsets(address.group)
    finally:
        await admin.close()
    return {(address.here(place.topic), place.partition): entry.offset for place, entry in found.items()}


async def has_members(url: str, number: int) -> bool:
    """Return whether so many processes share the partitions of the group."""
    address = read_address(url)
    admin = AIOKafkaAdminClient(bootstrap_servers=list(address.servers))
    await admin.start()
    try:
        (answer,) = await admin.describe_consumer_groups([address.group])
    finally:
        await admin.close()
    (group,) = answer.groups
    return group[2] == "Stable" and len(group[5]) == number


async def write_raw(url: str, topic: str, value: bytes, headers: Sequence[tuple[str, bytes]] = ()) -> None:
    """Write a record that need not be an event."""
    address = read_address(url)
    async with AIOKafkaProducer(bootstrap_servers=list(address.servers)) as producer:
        await producer.send_and_wait(address.on_server(topic), value, headers=list(headers))
