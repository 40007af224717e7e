"""`python -m tests.cluster.kafka_lag BOOTSTRAP HOST PORT`: how far every consumer group of Kafka is behind.

In the place of the exporter that Strimzi runs beside Kafka, which is in no package registry: the metrics of it that
shared/release/queries.py reads, with its names and labels, at /metrics for Prometheus.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from contextlib import AsyncExitStack
from typing import Any, Final

import uvicorn
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

Message = MutableMapping[str, Any]
_LAG: Final = "kafka_consumergroup_lag"
_OFFSET: Final = "kafka_consumergroup_current_offset"


def metrics(committed: Mapping[str, Mapping[TopicPartition, int]], ends: Mapping[TopicPartition, int]) -> Iterator[str]:
    """Yield the lines of Prometheus' text format: `committed` has the offset of each group, `ends` that of each log."""
    for metric in (_LAG, _OFFSET):
        yield f"# TYPE {metric} gauge\n"
        for group, offsets in sorted(committed.items()):
            for partition, offset in sorted(offsets.items()):
                value = offset if metric == _OFFSET else max(0, ends.get(partition, offset) - offset)
                labels = f'consumergroup="{group}",topic="{partition.topic}",partition="{partition.partition}"'
                yield f"{metric}{{{labels}}} {value}\n"


class Exporter:
    """An ASGI application that asks Kafka at each request."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._admin: Any = None
        self._reader: Any = None

    async def __call__(
        self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        """Answer a request with the present figures, or process the lifespan events of the server."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        body = "".join([line async for line in self._lines()]).encode()
        headers = [(b"content-type", b"text/plain; version=0.0.4")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _live(
        self, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        await receive()
        async with AsyncExitStack() as stack:
            self._admin = AIOKafkaAdminClient(bootstrap_servers=self._bootstrap)
            stack.push_async_callback(self._admin.close)
            await self._admin.start()
            self._reader = AIOKafkaConsumer(bootstrap_servers=self._bootstrap)
            stack.push_async_callback(self._reader.stop)
            await self._reader.start()
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})

    async def _lines(self) -> Any:
        committed = {}
        for group, _ in await self._admin.list_consumer_groups():
            found = await self._admin.list_consumer_group_offsets(group)
            committed[group] = {place: each.offset for place, each in found.items() if each.offset >= 0}
        places = sorted({place for offsets in committed.values() for place in offsets})
        ends = await self._reader.end_offsets(places) if places else {}
        for line in metrics(committed, ends):
            yield line


if __name__ == "__main__":
    uvicorn.run(Exporter(sys.argv[1]), host=sys.argv[2], port=int(sys.argv[3]), log_level="warning")
