"""The real Kafka server for tests."""

from __future__ import annotations

from uuid import uuid4

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic


async def test_a_record_is_read_back_by_a_group(kafka_url: str) -> None:
    """A group reads the records of an idempotent producer in order for each key, and commits its offset."""
    server, topic = kafka_url.removeprefix("kafka://"), f"tests-{uuid4()}"
    admin = AIOKafkaAdminClient(bootstrap_servers=server)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, num_partitions=3, replication_factor=1)])
    finally:
        await admin.close()
    async with AIOKafkaProducer(bootstrap_servers=server, enable_idempotence=True) as producer:
        sent = [await producer.send_and_wait(topic, str(number).encode(), key=b"acme/1") for number in range(5)]
    group = f"tests-{uuid4()}"
    async with AIOKafkaConsumer(
        topic, bootstrap_servers=server, group_id=group, auto_offset_reset="earliest", enable_auto_commit=False
    ) as consumer:
        read = [(await consumer.getone()).value for _ in range(5)]
        await consumer.commit()
        place = await consumer.committed(TopicPartition(topic, sent[0].partition))
    assert read == [b"0", b"1", b"2", b"3", b"4"]
    assert place == 5
