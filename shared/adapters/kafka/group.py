"""Reads topics as a member of a consumer group, and commits an offset only after every earlier record is finished."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from shared.adapters.kafka.address import KafkaAddress
from shared.adapters.kafka.connecting import connected, login_of, text_of
from shared.adapters.kafka.offsets import PartitionProgress
from shared.adapters.kafka.topics import TopicAdmin
from shared.core.settings import Settings
from shared.ports.documents import Unavailable
from shared.ports.lifecycle import Adapter, NotOpened

if TYPE_CHECKING:
    from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition

log = logging.getLogger(__name__)
SESSION_SECONDS: Final = 10
"""If a process sends no heartbeat for this time, its partitions are assigned to others."""
_HEARTBEAT_SECONDS: Final = 3
_REJOIN_MARGIN_SECONDS: Final = 10
_POLL_SECONDS: Final = 0.2
_COMMIT_SECONDS: Final = 1.0
_ERROR_PAUSE_SECONDS: Final = 1.0
_PAGE: Final = 500


class Record(NamedTuple):
    """One record. `progress` must be notified when it is finished."""

    topic: str
    partition: int
    offset: int
    time_ms: int
    headers: Sequence[tuple[str, bytes | None]]
    value: bytes | None
    progress: PartitionProgress

    def finish(self) -> None:
        """Mark the record as finished. No effect after its partition was given back."""
        self.progress.finished(self.offset)


class Receiver(Protocol):
    """Receives the records."""

    def received(self, records: Sequence[Record]) -> None:
        """Begin to deliver records of one partition, in order."""
        ...

    async def revoked(self) -> None:
        """Give back every unfinished record. Other processes may deliver them after this returns."""
        ...


class GroupReader(Adapter):
    """A member of the address's consumer group.

    At each rebalance Kafka revokes all partitions, assigns them again, and each is read from its committed offset:
    records that were finished out of order are delivered a second time.
    """

    adapter_name = "reader of events"

    def __init__(self, address: KafkaAddress, settings: Settings, topics: Sequence[str], receiver: Receiver) -> None:
        self._address = address
        self._settings = settings
        self._topics = tuple(topics)
        self._receiver = receiver
        self._consumer: AIOKafkaConsumer | None = None
        self._partitions: dict[TopicPartition, PartitionProgress] = {}
        self._generation = 0
        self._gives_back = False
        self._dropped: set[TopicPartition] = set()
        self._failure: str | None = None
        self._next_commit = 0.0

    @property
    def group(self) -> str:
        """The name of the group."""
        return self._address.group

    def lag(self) -> Mapping[tuple[str, int], int]:
        """Return, for each assigned partition (topic and number), the number of unfinished records, including unread
        ones."""
        found: dict[tuple[str, int], int] = {}
        consumer = self._consumer
        if consumer is None or self.is_closed:
            return found
        for partition in consumer.assignment():
            end = consumer.highwater(partition)
            progress = self._partitions.get(partition)
            if end is not None:
                done = end if progress is None else progress.committable
                found[self._address.here(partition.topic), partition.partition] = max(0, end - done)
        return found

    async def _probe(self) -> None:
        if self._failure is not None:
            raise Unavailable(self._failure)

    async def _open(self, closing: AsyncExitStack) -> None:
        await self._require_topics()
        consumer = await self._connected()
        closing.push_async_callback(consumer.stop)
        self._consumer = consumer
        closing.push_async_callback(self._commit_last)
        reading = asyncio.create_task(self._read())
        closing.push_async_callback(_ended, reading)
        consumer.subscribe([self._address.on_server(topic) for topic in self._topics], listener=self._listener())

    async def _require_topics(self) -> None:
        async with TopicAdmin(self._address, self._settings) as admin:
            found = await admin.found(self._topics)
        missing = [topic for topic in self._topics if topic not in found]
        if missing:
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise NotOpened(
                f"LASTRO_BUS: Kafka at {self._address.shown} has no topic {self._address.on_server(missing[0])}{more}: "
                "run `lastro topics apply`"
            )

    async def _connected(self) -> AIOKafkaConsumer:
        from aiokafka import AIOKafkaConsumer

        login, settings = login_of(self._address), self._settings
        rejoin_seconds = settings.bus_rebalance_seconds + settings.bus_seconds + _REJOIN_MARGIN_SECONDS

        def make() -> AIOKafkaConsumer:
            return AIOKafkaConsumer(
                **login,
                client_id="lastro",
                group_id=self._address.group,
                auto_offset_reset="earliest",
                enable_auto_commit=False,
                request_timeout_ms=int(settings.bus_seconds * 1000),
                session_timeout_ms=SESSION_SECONDS * 1000,
                heartbeat_interval_ms=_HEARTBEAT_SECONDS * 1000,
                rebalance_timeout_ms=int(rejoin_seconds * 1000),
                fetch_max_wait_ms=100,
            )

        return await connected(
            make, lambda made: made.start(), lambda made: made.stop(), self._address, settings, waits=True
        )

    # The partitions that this process has

    def _listener(self) -> ConsumerRebalanceListener:
        from aiokafka import ConsumerRebalanceListener

        reader = self

        class Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # the driver has no types
            """Forwards Kafka's callbacks."""

            async def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
                """Finish or give back the records of the partitions."""
                await reader._revoked(revoked)

            def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
                """Log the number of partitions."""
                log.info("this process reads %d partitions of the group %s", len(assigned), reader.group)

        return Listener()

    async def _revoked(self, revoked: Sequence[TopicPartition]) -> None:
        self._generation += 1
        if not revoked:
            return
        self._gives_back = True
        try:
            await self._receiver.revoked()
            await self._commit()
        finally:
            self._partitions.clear()
            self._gives_back = False

    # Reading

    async def _read(self) -> None:
        from aiokafka.errors import KafkaError

        while True:
            try:
                await self._read_once()
                self._failure = None
            except (KafkaError, OSError) as error:
                self._failure = f"Kafka at {self._address.shown}: {text_of(error)}"
                log.warning("no events can be read: %s", self._failure)
                await asyncio.sleep(_ERROR_PAUSE_SECONDS)
            except Exception:
                # Some records may be counted as read without having been handed over, so all are read again.
                self._failure = "the reader of events has failed; the log has the error"
                log.exception("the reader of events has failed; it begins again from the committed offsets")
                await self._begin_again()
                await asyncio.sleep(_ERROR_PAUSE_SECONDS)

    async def _begin_again(self) -> None:
        """Give back all records, and read from the committed offsets."""
        await self._receiver.revoked()
        self._dropped.update(self._partitions)
        self._partitions.clear()

    async def _read_once(self) -> None:
        consumer = self._consumer
        assert consumer is not None, "reading begins after the consumer is made"
        if self._gives_back:
            await asyncio.sleep(_POLL_SECONDS)
            return
        await self._rewind()
        generation = self._generation
        room = self._settings.bus_events_in_memory - sum(each.unfinished for each in self._partitions.values())
        self._pause(room)
        found = await consumer.getmany(timeout_ms=int(_POLL_SECONDS * 1000), max_records=min(max(room, 1), _PAGE))
        if generation != self._generation:
            # The records may be those of the assignment before.
            self._dropped.update(found)
            return
        for partition, records in found.items():
            self._hand_over(partition, records)
        loop = asyncio.get_running_loop()
        if loop.time() >= self._next_commit:
            self._next_commit = loop.time() + _COMMIT_SECONDS
            await self._commit()

    def _pause(self, room: int) -> None:
        """Pause all partitions while there is no room, and each partition whose first record holds up too many
        others."""
        consumer = self._consumer
        assert consumer is not None, "see above"
        assigned, paused = consumer.assignment(), consumer.paused()
        limit = self._settings.bus_events_in_memory
        full = {
            partition
            for partition in assigned
            if room <= 0 or (partition in self._partitions and self._partitions[partition].held >= limit)
        }
        if full - paused:
            consumer.pause(*(full - paused))
        if (paused & assigned) - full:
            consumer.resume(*((paused & assigned) - full))

    async def _rewind(self) -> None:
        """Seek to the first record that was not delivered, in the partitions whose last records were dropped."""
        consumer = self._consumer
        assert consumer is not None, "see above"
        for partition in tuple(self._dropped):
            if partition in consumer.assignment():
                progress = self._partitions.get(partition)
                place = await consumer.committed(partition) if progress is None else progress.next
                # A partition that was taken back meanwhile begins at its committed offset when it is assigned again.
                if partition in consumer.assignment():
                    if place is None:
                        await consumer.seek_to_beginning(partition)
                    else:
                        consumer.seek(partition, place)
            self._dropped.discard(partition)

    def _hand_over(self, partition: TopicPartition, records: Sequence[Any]) -> None:
        progress = self._partitions.get(partition)
        if progress is None:
            progress = self._partitions[partition] = PartitionProgress(records[0].offset)
        topic = self._address.here(partition.topic)
        handed = []
        for record in records:
            if record.offset < progress.next:
                continue
            progress.began(record.offset)
            handed.append(
                Record(
                    topic, partition.partition, record.offset, record.timestamp, record.headers, record.value, progress
                )
            )
        if handed:
            self._receiver.received(handed)

    # Committing

    async def _commit(self) -> None:
        """Commit finished records. If the commit fails, they are delivered again; the caller gets no error."""
        from aiokafka.errors import KafkaError

        consumer = self._consumer
        assert consumer is not None, "see above"
        due = {
            partition: progress.committable
            for partition, progress in self._partitions.items()
            if progress.committable != progress.committed
        }
        if not due:
            return
        progresses = dict(self._partitions)
        try:
            async with asyncio.timeout(self._settings.bus_seconds):
                await consumer.commit(due)
        except (KafkaError, OSError) as error:
            log.warning("the group %s cannot commit its offsets: %s", self.group, text_of(error))
            return
        for partition, offset in due.items():
            progresses[partition].committed = offset

    async def _commit_last(self) -> None:
        await self._commit()
        self._partitions.clear()


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
