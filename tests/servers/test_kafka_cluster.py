"""A cluster of three brokers, which tolerates the loss of one."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from tests.servers.kafka_server import KafkaClusterServer
from tests.servers.processes import Processes

pytestmark = pytest.mark.real
RECORDS = 600


def test_a_killed_broker_loses_nothing(processes: Processes) -> None:
    """SIGKILL to one of three brokers under load loses no acknowledged record, and each key keeps its order."""
    server = KafkaClusterServer()
    server.install()
    brokers = server.start(processes).removeprefix("kafka://").split(",")
    read = asyncio.run(_write_and_read(brokers, processes))
    for key in (b"a", b"b", b"c"):
        values = [value for of, value in read if of == key]
        assert values == sorted(set(values)), key
        assert len(values) == RECORDS // 3


async def _write_and_read(brokers: list[str], processes: Processes) -> list[tuple[bytes, int]]:
    admin = AIOKafkaAdminClient(bootstrap_servers=brokers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic("load", num_partitions=3, replication_factor=3)])
    finally:
        await admin.close()
    async with AIOKafkaProducer(
        bootstrap_servers=brokers, enable_idempotence=True, request_timeout_ms=120_000
    ) as producer:
        for number in range(RECORDS):
            if number == RECORDS // 3:
                processes.kill("kafka1")
            await producer.send_and_wait("load", str(number).encode(), key=b"abc"[number % 3 : number % 3 + 1])
    read: list[tuple[bytes, int]] = []
    async with AIOKafkaConsumer("load", bootstrap_servers=brokers[1:], auto_offset_reset="earliest") as consumer:
        while len(read) < RECORDS:
            record = await consumer.getone()
            read.append((record.key, int(record.value)))
    return read
