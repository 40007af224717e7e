"""Reads topics without a consumer group: nothing is committed, and other readers are not affected."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final, NamedTuple

from shared.adapters.kafka.address import KafkaAddress
from shared.adapters.kafka.connecting import connected, login_of, unavailable
from shared.adapters.kafka.topics import TopicAdmin
from shared.core.settings import Settings
from shared.ports.lifecycle import Adapter, NotOpened

if TYPE_CHECKING:
    from aiokafka import AIOKafkaConsumer

_POLL_MS: Final = 200
_PAGE: Final = 500


class Found(NamedTuple):
    """A record: its headers, value, and time in milliseconds."""

    headers: Sequence[tuple[str, bytes | None]]
    value: bytes | None
    time_ms: int


class TopicTail(Adapter):
    """A reader of all partitions of existing topics."""

    adapter_name = "reader of topics"

    def __init__(self, address: KafkaAddress, settings: Settings, topics: Sequence[str]) -> None:
        self._address = address
        self._settings = settings
        self._topics = topics
        self._consumer: AIOKafkaConsumer | None = None

    async def _open(self, closing: AsyncExitStack) -> None:
        from aiokafka import AIOKafkaConsumer, TopicPartition

        async with TopicAdmin(self._address, self._settings) as admin:
            found = await admin.found(self._topics)
        if not found:
            raise NotOpened(f"LASTRO_BUS: Kafka at {self._address.shown} has no topics: run `lastro topics apply`")
        login = login_of(self._address)

        def make() -> AIOKafkaConsumer:
            return AIOKafkaConsumer(
                **login,
                client_id="lastro",
                request_timeout_ms=int(self._settings.bus_seconds * 1000),
                auto_offset_reset="earliest",
            )

        consumer = await connected(
            make, lambda made: made.start(), lambda made: made.stop(), self._address, self._settings, waits=True
        )
        closing.push_async_callback(consumer.stop)
        self._consumer = consumer
        consumer.assign(
            [
                TopicPartition(self._address.on_server(topic), number)
                for topic, partitions in found.items()
                for number in range(partitions.partitions)
            ]
        )

    async def past(self) -> list[Found]:
        """Return all present records, oldest first, and continue after them. Raises Unavailable."""
        consumer = self._opened()
        from aiokafka.errors import KafkaError

        found: list[Found] = []
        try:
            partitions = consumer.assignment()
            ends = await consumer.end_offsets(partitions)
            await consumer.seek_to_beginning(*partitions)
            while True:
                found += await self._page()
                places = [await consumer.position(partition) >= ends[partition] for partition in partitions]
                if all(places):
                    break
        except (KafkaError, OSError) as error:
            raise unavailable(self._address, error) from error
        return sorted(found, key=lambda record: record.time_ms)

    async def skip_to_the_end(self) -> None:
        """Skip all present records. Raises Unavailable."""
        consumer = self._opened()
        from aiokafka.errors import KafkaError

        try:
            await consumer.seek_to_end(*consumer.assignment())
        except (KafkaError, OSError) as error:
            raise unavailable(self._address, error) from error

    async def new(self) -> AsyncIterator[Found]:
        """Yield records as they are written, without end. Raises Unavailable."""
        from aiokafka.errors import KafkaError

        while True:
            try:
                page = await self._page()
            except (KafkaError, OSError) as error:
                raise unavailable(self._address, error) from error
            for record in page:
                yield record

    async def _page(self) -> list[Found]:
        pages = await self._opened().getmany(timeout_ms=_POLL_MS, max_records=_PAGE)
        return [
            Found(record.headers, record.value, record.timestamp) for records in pages.values() for record in records
        ]

    def _opened(self) -> AIOKafkaConsumer:
        self.require_open()
        assert self._consumer is not None, "the reader is opened before it is used"
        return self._consumer
