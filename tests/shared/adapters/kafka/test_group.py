"""The reader of a consumer group, over a driver in memory: what it hands over, and what it commits, when partitions
change at any moment."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import CommitFailedError, KafkaConnectionError
from hypothesis import given
from hypothesis import strategies as st

from shared.adapters.kafka.address import KafkaAddress
from shared.adapters.kafka.group import GroupReader, Record
from shared.core.settings import Settings
from tests.waiting import PATIENCE_SECONDS

ONE, TWO = TopicPartition("t", 0), TopicPartition("t", 1)


class Stored(NamedTuple):
    """A record as the driver returns it."""

    offset: int
    timestamp: int = 0
    headers: Sequence[tuple[str, bytes]] = ()
    value: bytes = b""


class Driver:
    """The part of the driver's consumer that the reader uses, on partitions of so many records each."""

    def __init__(self, **ends: int) -> None:
        self.ends = {ONE: ends.get("one", 0), TWO: ends.get("two", 0)}
        self.places: dict[TopicPartition, int] = {}
        self.committed_offsets: dict[TopicPartition, int] = {}
        self.paused_partitions: set[TopicPartition] = set()
        self.fails: Exception | None = None
        self.during_the_fetch: list[Any] = []

    def assign(self, *partitions: TopicPartition) -> None:
        """Assign partitions: each is read from its committed offset."""
        self.places = {partition: self.committed_offsets.get(partition, 0) for partition in partitions}
        self.paused_partitions.clear()

    def assignment(self) -> set[TopicPartition]:
        return set(self.places)

    def paused(self) -> set[TopicPartition]:
        return set(self.paused_partitions)

    def pause(self, *partitions: TopicPartition) -> None:
        self.paused_partitions.update(partitions)

    def resume(self, *partitions: TopicPartition) -> None:
        self.paused_partitions.difference_update(partitions)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self.places[partition] = offset

    async def seek_to_beginning(self, partition: TopicPartition) -> None:
        self.places[partition] = 0

    async def committed(self, partition: TopicPartition) -> int | None:
        return self.committed_offsets.get(partition)

    def highwater(self, partition: TopicPartition) -> int:
        return self.ends[partition]

    async def getmany(self, *, timeout_ms: int, max_records: int) -> Mapping[TopicPartition, Sequence[Stored]]:
        assert timeout_ms > 0
        await asyncio.sleep(0)
        if self.fails is not None:
            raise self.fails
        found: dict[TopicPartition, list[Stored]] = {}
        for partition in sorted(self.places.keys() - self.paused_partitions):
            place = self.places[partition]
            end = min(self.ends[partition], place + max_records)
            if end > place:
                found[partition] = [Stored(offset) for offset in range(place, end)]
                self.places[partition] = end
                max_records -= end - place
        while self.during_the_fetch:
            await self.during_the_fetch.pop()()
        return found

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        if self.fails is not None:
            raise self.fails
        assert offsets.keys() <= self.places.keys()
        self.committed_offsets.update(offsets)


class Receiver:
    """Keeps what it receives, and finishes it when it is told to."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.given_back = 0

    def received(self, records: Sequence[Record]) -> None:
        self.records += records

    async def revoked(self) -> None:
        self.given_back += 1

    def offsets(self, partition: int = 0) -> list[int]:
        return [record.offset for record in self.records if record.partition == partition]


def reader_of(driver: Driver, receiver: Receiver, in_memory: int = 100) -> GroupReader:
    """Return a reader on the driver. Every read also commits what is finished."""
    reader = GroupReader(KafkaAddress(("h:1",)), Settings(bus_events_in_memory=in_memory), ["t"], receiver)
    reader._consumer = driver
    return reader


async def read(reader: GroupReader) -> None:
    """Read once, and commit."""
    reader._next_commit = 0.0
    await reader._read_once()


async def test_records_that_came_while_partitions_changed_are_read_again() -> None:
    """Records of an assignment that ended during the fetch are dropped, and the new assignment begins at its committed
    offset, or at the beginning without one."""
    driver, receiver = Driver(one=10, two=5), Receiver()
    reader = reader_of(driver, receiver)
    driver.assign(ONE)
    await read(reader)
    for record in receiver.records[:4]:
        record.finish()
    await read(reader)
    assert driver.committed_offsets == {ONE: 4}
    receiver.records.clear()
    driver.ends[ONE] = 12

    async def rebalance() -> None:
        await reader._revoked([ONE])
        driver.assign(ONE, TWO)
        driver.places[ONE] = 12  # what a stale buffer of the driver would do

    driver.during_the_fetch.append(rebalance)
    await read(reader)
    assert (receiver.records, receiver.given_back) == ([], 1)
    await read(reader)
    assert receiver.offsets(0) == list(range(4, 12))
    assert receiver.offsets(1) == list(range(5))


async def test_a_change_of_other_partitions_loses_no_record() -> None:
    """When a fetch is dropped, a partition that goes on is read from the record after the last one handed over."""
    driver, receiver = Driver(one=3), Receiver()
    reader = reader_of(driver, receiver)
    driver.assign(ONE)
    await read(reader)
    driver.ends[ONE] = 6

    async def joined() -> None:
        await reader._revoked([])

    driver.during_the_fetch.append(joined)
    await read(reader)
    assert receiver.offsets() == [0, 1, 2]
    await read(reader)
    assert receiver.offsets() == list(range(6))


async def test_a_partition_that_went_to_another_process_is_left_alone() -> None:
    """Dropped records of a partition that is not assigned any more are not asked for."""
    driver, receiver = Driver(one=3, two=3), Receiver()
    reader = reader_of(driver, receiver)
    driver.assign(ONE)

    async def rebalance() -> None:
        await reader._revoked([ONE])
        driver.assign(TWO)

    driver.during_the_fetch.append(rebalance)
    await read(reader)
    await read(reader)
    assert (receiver.offsets(0), receiver.offsets(1)) == ([], [0, 1, 2])


async def test_an_unexpected_error_loses_no_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """When handing records over fails, the reader says so, and reads them again from the committed offset."""
    monkeypatch.setattr("shared.adapters.kafka.group._ERROR_PAUSE_SECONDS", 0.0)
    driver, receiver = Driver(one=3), Receiver()
    received, failed = receiver.received, asyncio.Event()

    def fail_once(records: Sequence[Record]) -> None:
        if not failed.is_set():
            failed.set()
            raise LookupError("unexpected")
        received(records)

    monkeypatch.setattr(receiver, "received", fail_once)
    reader = reader_of(driver, receiver)
    driver.assign(ONE)
    reading = asyncio.create_task(reader._read())
    async with asyncio.timeout(PATIENCE_SECONDS):
        await failed.wait()
        while receiver.offsets() != [0, 1, 2] or reader._failure is not None:  # noqa: ASYNC110 - no event for it
            await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert receiver.given_back == 1


async def test_what_is_finished_late_is_not_committed() -> None:
    """A record that is finished after its partition was given back changes no offset of the new assignment."""
    driver, receiver = Driver(one=5), Receiver()
    reader = reader_of(driver, receiver)
    driver.assign(ONE)
    await read(reader)
    late = list(receiver.records)
    await reader._revoked([ONE])
    driver.assign(ONE)
    await read(reader)
    for record in late:
        record.finish()
    await read(reader)
    assert driver.committed_offsets.get(ONE, 0) == 0


async def test_a_partition_that_is_held_up_is_paused_alone() -> None:
    """A first record that is never finished stops its partition at the bound; the other goes on."""
    driver, receiver = Driver(one=50, two=50), Receiver()
    reader = reader_of(driver, receiver, in_memory=10)
    driver.assign(ONE, TWO)
    for _ in range(40):
        await read(reader)
        for record in receiver.records:
            if (record.partition, record.offset) != (0, 0):
                record.finish()
    assert receiver.offsets(1) == list(range(50))
    assert len(receiver.offsets(0)) <= 2 * 10
    assert reader.lag() == {("t", 0): 50, ("t", 1): 0}
    receiver.records[0].finish()
    for _ in range(40):
        await read(reader)
        for record in receiver.records:
            record.finish()
    assert receiver.offsets(0) == list(range(50))


async def test_a_commit_that_fails_is_made_again() -> None:
    """A commit that Kafka refuses stops nothing, and the next one has the same offset or a later one."""
    driver, receiver = Driver(one=2), Receiver()
    reader = reader_of(driver, receiver)
    driver.assign(ONE)
    await read(reader)
    receiver.records[0].finish()
    driver.fails = CommitFailedError()
    await reader._commit()
    assert driver.committed_offsets == {}
    driver.fails = None
    await read(reader)
    assert driver.committed_offsets == {ONE: 1}


async def test_a_read_that_fails_is_reported_and_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """While Kafka does not answer, the reader has a trouble, which ends when it can read again."""
    monkeypatch.setattr("shared.adapters.kafka.group._ERROR_PAUSE_SECONDS", 0)
    driver, receiver = Driver(one=1), Receiver()
    reader = reader_of(driver, receiver)
    driver.assign(ONE)
    driver.fails = KafkaConnectionError("no")
    reading = asyncio.create_task(reader._read())
    while await reader.trouble() is None:  # noqa: ASYNC110 - the state is polled
        await asyncio.sleep(0)
    assert await reader.trouble() == "Kafka at h:1: no"
    driver.fails = None
    while await reader.trouble() is not None:  # noqa: ASYNC110 - as above
        await asyncio.sleep(0)
    reading.cancel()
    await asyncio.wait((reading,))
    assert receiver.offsets() == [0]


class Play:
    """A reader on two partitions, and what happens to it."""

    def __init__(self) -> None:
        self.driver, self.receiver = Driver(one=3, two=2), Receiver()
        self.reader = reader_of(self.driver, self.receiver, in_memory=4)
        self.driver.assign(ONE, TWO)
        self.finished: set[tuple[int, int]] = set()

    def finish(self, number: int) -> None:
        """Finish the newest records."""
        for record in self.receiver.records[-number:]:
            record.finish()
            self.finished.add((record.partition, record.offset))

    async def rebalance(self) -> None:
        """Take both partitions back and assign them again."""
        await self.reader._revoked(list(self.driver.places))
        self.driver.assign(ONE, TWO)

    async def happen(self, action: str) -> None:
        """Let something happen, and check what is committed."""
        if action == "finish":
            self.finish(2)
        elif action == "rebalance":
            await self.rebalance()
        elif action == "write":
            self.driver.ends = {partition: end + 2 for partition, end in self.driver.ends.items()}
        else:
            if action != "read":
                self.driver.during_the_fetch.append(self.rebalance)
            await read(self.reader)
        for partition, offset in self.driver.committed_offsets.items():
            assert all((partition.partition, before) in self.finished for before in range(offset))


@given(st.lists(st.sampled_from(["read", "finish", "rebalance", "rebalance while reading", "write"]), max_size=40))
def test_no_record_is_lost(actions: list[str]) -> None:
    """Whatever happens in between, every record is handed over, and no offset is committed beyond a record that was
    never finished."""

    async def play() -> None:
        one = Play()
        for action in actions:
            await one.happen(action)
        for _ in range(100):
            one.finish(len(one.receiver.records))
            await read(one.reader)
        assert one.driver.committed_offsets == one.driver.ends
        for partition, end in one.driver.ends.items():
            assert set(one.receiver.offsets(partition.partition)) == set(range(end))

    asyncio.run(play())
