"""The broker on a real Kafka: nothing is lost, a key keeps its order, and offsets wait for every earlier event."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from itertools import pairwise
from pathlib import Path
from uuid import uuid4

import orjson
import pytest

from embedded.broker.delivery import ACCEPTED, Answer
from embedded.broker.kafka_log import RECORD_TYPE
from shared.core.envelope import ROUTE, Envelope
from shared.core.settings import Settings
from shared.ports.lifecycle import NotOpened
from tests.embedded.broker.kafka_stage import (
    BROKER_TOPIC,
    TOPIC,
    committed,
    has_members,
    make_topics,
    on_kafka,
    shop_plan,
    write_raw,
)
from tests.embedded.broker.small_platform import Shop, answering, event
from tests.waiting import PATIENCE_SECONDS, rest

ROOT = Path(__file__).parents[3]


@pytest.fixture
def bus_url(kafka_url: str) -> str:
    """Return the URL of a platform whose topics and group no other test uses."""
    name = f"test-{uuid4().hex}"
    return f"{kafka_url}?prefix={name}.&group={name}"


class Gate:
    """A function that answers 204 when the gate is open for the event; it is open for all events but those in
    `closed`."""

    def __init__(self, *closed: str) -> None:
        self.closed = {id: asyncio.Event() for id in closed}

    async def __call__(self, _name: str, envelope: Envelope, _first: bool) -> Answer:
        gate = self.closed.get(envelope.id)
        if gate is not None:
            await gate.wait()
        return ACCEPTED

    def prepare(self, shop: Shop) -> None:
        shop.behaviour["billing"] = self


async def waited(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await condition():  # noqa: ASYNC110 - the condition is the server's
            await asyncio.sleep(0.05)


async def test_events_are_delivered_once_and_their_offsets_committed(bus_url: str, tmp_path: Path) -> None:
    """Published events reach their function, none is promised to be new, and a later process gets none again."""
    plan = shop_plan(tmp_path)
    await make_topics(bus_url, partitions=3)
    sent = [event(number) for number in range(50)]
    async with on_kafka(bus_url, plan) as stage:
        await stage.bus.publish(sent)
        await stage.received("billing", [each.id for each in sent])
        assert {first for _, _, first in stage.shop.given} == {False}
        assert ROUTE not in stage.shop.given[0][1].extensions
    assert sum(offset for (topic, _), offset in (await committed(bus_url)).items() if topic == TOPIC) == 50
    async with on_kafka(bus_url, plan) as stage:
        await stage.bus.publish([event(100)])
        await stage.received("billing", ["evt_100"])
        assert stage.shop.ids("billing") == ["evt_100"]


async def test_an_event_without_a_consumer_is_finished(bus_url: str, tmp_path: Path) -> None:
    """The offset of an event that no function consumes is committed."""
    await make_topics(bus_url)
    async with on_kafka(bus_url, shop_plan(tmp_path)) as stage:
        await stage.bus.publish([event(1, "returned"), event(2)])
        await stage.received("billing", ["evt_2"])
    assert (await committed(bus_url))[TOPIC, 0] == 2


async def test_offsets_never_pass_an_unfinished_event(bus_url: str, tmp_path: Path) -> None:
    """While one event is in progress, later ones are delivered and no offset behind it is committed; the next process
    gets it again."""
    plan = shop_plan(tmp_path)
    await make_topics(bus_url)
    gate = Gate("evt_3")
    async with on_kafka(bus_url, plan, prepare=gate.prepare, grace_seconds=0) as stage:
        await stage.bus.publish([event(number) for number in range(10)])
        await stage.received("billing", [f"evt_{number}" for number in range(10)])

        async def is_committed() -> bool:
            return (await committed(bus_url)).get((TOPIC, 0)) == 3

        await waited(is_committed)
        assert stage.log.lag()[TOPIC, 0] == 7
    assert (await committed(bus_url))[TOPIC, 0] == 3
    async with on_kafka(bus_url, plan) as stage:
        await stage.received("billing", [f"evt_{number}" for number in range(3, 10)])
        assert stage.shop.ids("billing")[0] == "evt_3"
    assert (await committed(bus_url))[TOPIC, 0] == 10


async def test_a_record_that_is_no_event_goes_to_the_dead_letters(bus_url: str, tmp_path: Path) -> None:
    """A record that is no CloudEvent, or has too much data, goes to the dead letters; those behind it are delivered."""
    await make_topics(bus_url)
    async with on_kafka(bus_url, shop_plan(tmp_path), Settings(max_event_bytes=100)) as stage:
        await write_raw(bus_url, TOPIC, b"\xff not an event")
        await write_raw(bus_url, TOPIC, b"x" * 101)
        await write_raw(bus_url, BROKER_TOPIC, b"{}", [("ce_id", b"1")])
        await stage.bus.publish([event(1)])
        await stage.received("billing", ["evt_1"])
        await stage.until(lambda: len(stage.shop.ids("parking")) == 3)
        letters = [envelope for name, envelope, _ in stage.shop.given if name == "parking"]
        assert {letter.type for letter in letters} == {RECORD_TYPE}
        assert sorted(letter.extensions["code"] for letter in letters) == [
            "malformed_request",
            "malformed_request",
            "payload_too_large",
        ]
        first = next(letter for letter in letters if letter.source == f"/kafka/{TOPIC}")
        assert first.extensions["detail"].startswith("the record is not a CloudEvent: there are neither ce_ headers")
        assert orjson.loads(first.data)["value_base64"] == "/yBub3QgYW4gZXZlbnQ="
    assert (await committed(bus_url))[TOPIC, 0] == 3


async def test_dead_letters_that_are_refused_are_not_lost(bus_url: str, tmp_path: Path) -> None:
    """A record that is no event stays on Kafka, uncommitted, until the dead letter sink accepts it."""
    plan = shop_plan(tmp_path)
    await make_topics(bus_url)
    await write_raw(bus_url, TOPIC, b"no event")

    def refusing(shop: Shop) -> None:
        shop.behaviour["parking"] = answering(503)

    async with on_kafka(bus_url, plan, prepare=refusing) as stage:
        await stage.until(lambda: bool(stage.shop.ids("parking")))
    assert (TOPIC, 0) not in await committed(bus_url) or (await committed(bus_url))[TOPIC, 0] == 0
    async with on_kafka(bus_url, plan) as stage:
        await stage.until(lambda: bool(stage.shop.ids("parking")))
    assert (await committed(bus_url))[TOPIC, 0] == 1


async def test_the_ingress_of_a_broker_is_a_topic(bus_url: str, tmp_path: Path) -> None:
    """An event that is sent to a Broker is on the Broker's own topic and reaches its Triggers; so does its replay."""
    await make_topics(bus_url)
    async with on_kafka(bus_url, shop_plan(tmp_path)) as stage:
        await stage.broker.publish("default", event(1, source="/elsewhere"))
        await stage.received("billing", ["evt_1"])
        await stage.bus.publish([event(2, source="/elsewhere", **{ROUTE: f"topic/{BROKER_TOPIC}"})])
        await stage.received("billing", ["evt_2"])
    assert (await committed(bus_url))[BROKER_TOPIC, 0] == 2


async def test_reading_stops_while_too_many_events_are_in_memory(bus_url: str, tmp_path: Path) -> None:
    """At the bound of events in memory no more are read, and reading goes on when there is room."""
    await make_topics(bus_url)
    ids = [f"evt_{number}" for number in range(30)]
    gate = Gate(*ids)
    async with on_kafka(bus_url, shop_plan(tmp_path), Settings(bus_events_in_memory=8), gate.prepare) as stage:
        await stage.bus.publish([event(number) for number in range(30)])
        await stage.received("billing", ids[:8])

        async def lag_is_known() -> bool:
            return stage.log.lag().get((TOPIC, 0)) == 30

        await waited(lag_is_known)
        await rest()
        assert len(stage.shop.ids("billing")) == 8
        for each in gate.closed.values():
            each.set()
        await stage.received("billing", ids)
        await stage.until(lambda: stage.log.lag()[TOPIC, 0] == 0)


async def test_missing_topics_are_named(bus_url: str, tmp_path: Path) -> None:
    """Without the topics, opening fails with the command that makes them."""
    with pytest.raises(NotOpened, match="and 1 more: run `lastro topics apply`"):
        async with on_kafka(bus_url, shop_plan(tmp_path)):
            pass


async def test_a_rebalance_waits_for_deliveries_in_flight(bus_url: str, tmp_path: Path) -> None:
    """When a second process joins, a delivery in flight is finished first, and no other process gets the event; both
    share the work afterwards."""
    plan = shop_plan(tmp_path, ordered=True)
    await make_topics(bus_url, partitions=4)
    gate = Gate("evt_0")
    settings = Settings(bus_rebalance_seconds=PATIENCE_SECONDS)
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(on_kafka(bus_url, plan, settings, gate.prepare))
        await first.bus.publish([event(0, key="k"), event(1, key="k")])
        await first.received("billing", ["evt_0"])
        second = await stack.enter_async_context(on_kafka(bus_url, plan, settings))
        await first.until(lambda: first.broker._held)
        assert second.shop.given == []
        gate.closed["evt_0"].set()
        await first.until(lambda: "evt_1" in [*first.shop.ids("billing"), *second.shop.ids("billing")])
        assert [*first.shop.ids("billing"), *second.shop.ids("billing")] == ["evt_0", "evt_1"]
        await first.until(lambda: bool(first.log.lag()) and bool(second.log.lag()))
        more = [event(number) for number in range(2, 102)]
        await first.bus.publish(more)
        ids = {each.id for each in more}
        await first.until(lambda: ids <= {*first.shop.ids("billing"), *second.shop.ids("billing")})
        assert not set(first.shop.ids("billing")) & set(second.shop.ids("billing"))
        assert len(second.shop.ids("billing")) > 0


async def test_a_rebalance_gives_back_what_takes_too_long(bus_url: str, tmp_path: Path) -> None:
    """A delivery that is still in flight after the bound is cancelled, and the event is delivered again."""
    plan = shop_plan(tmp_path)
    await make_topics(bus_url)
    gate = Gate("evt_0")
    settings = Settings(bus_rebalance_seconds=0.1)
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(on_kafka(bus_url, plan, settings, gate.prepare, grace_seconds=0))
        await first.bus.publish([event(0)])
        await first.received("billing", ["evt_0"])
        second = await stack.enter_async_context(on_kafka(bus_url, plan, settings, gate.prepare, grace_seconds=0))
        await first.until(lambda: [*first.shop.ids("billing"), *second.shop.ids("billing")].count("evt_0") == 2)


def first_deliveries(file: Path) -> dict[str, list[int]]:
    """Return the numbers of the events that were received, by key, in the order in which each was received first."""
    found: dict[str, list[int]] = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        _, key, id = line.split()
        number = int(id.removeprefix("evt_"))
        numbers = found.setdefault(key, [])
        if number not in numbers:
            numbers.append(number)
    return found


async def test_a_killed_process_loses_nothing(bus_url: str, tmp_path: Path) -> None:
    """Of two processes one is killed with SIGKILL half-way through 1,000 events: the other delivers the rest, and the
    first deliveries of each key are in order."""
    plan = shop_plan(tmp_path)
    await make_topics(bus_url, partitions=6)
    file = tmp_path / "received"
    file.touch()
    command = [sys.executable, "-m", "tests.embedded.broker.kafka_child", bus_url, str(tmp_path), str(file)]
    children = [subprocess.Popen(command, cwd=ROOT) for _ in range(2)]  # noqa: ASYNC220 - it returns at once
    try:
        async with on_kafka(f"{bus_url}-other", plan) as publisher:

            async def received(number: int) -> None:
                async with asyncio.timeout(2 * PATIENCE_SECONDS):
                    while sum(map(len, first_deliveries(file).values())) < number:
                        assert children[1].poll() is None, "a child has ended by itself"
                        await asyncio.sleep(0.1)

            await waited(lambda: has_members(bus_url, 2))
            await publisher.bus.publish([event(number, key=f"k{number % 40}") for number in range(1000)])
            await received(400)
            children[0].kill()
            await received(1000)
    finally:
        for child in children:
            child.kill()
            child.wait()
    processes = {int(line.split()[0]) for line in file.read_text(encoding="utf-8").splitlines()}
    assert processes == {child.pid for child in children}
    found = first_deliveries(file)
    assert sorted(number for numbers in found.values() for number in numbers) == list(range(1000))
    for numbers in found.values():
        assert all(earlier < later for earlier, later in pairwise(numbers))
