"""`task count:servers`: how calls are counted, and the counts of a payment on the real servers."""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from shared.adapters.mongodb import store
from shared.adapters.mongodb.driver import Server
from shared.adapters.mongodb.statements import Delete, Insert, Replace, Update
from tests.bench import round_trips
from tests.bench.real_servers import settings_on
from tests.bench.round_trips import BUS, CACHE, COMMIT, PATH, READ, Gate, Trips, count, kinds_in_turn, table, write
from tests.ports.mongodb_databases import Recorder


class Port:
    """A port whose calls take some turns of the event loop."""

    async def call(self, turns: int) -> int:
        for _ in range(turns):
            await asyncio.sleep(0)
        return turns


def gated() -> tuple[Gate, Port]:
    gate, port = Gate(), Port()
    gate.hold(port, READ, "call")
    return gate, port


async def test_calls_one_after_the_other_are_round_trips() -> None:
    """A call that waits for the result of another is a round trip of its own."""
    gate, port = gated()

    async def work() -> int:
        return await port.call(await port.call(3))

    result, trips = await gate.count(work())
    assert (result, trips.rounds, trips.after) == (3, (Counter({READ: 1}), Counter({READ: 1})), ())


async def test_calls_at_the_same_time_are_one_round_trip() -> None:
    """Calls that wait at the same time are one round trip, however long each of them takes."""
    gate, port = gated()

    async def work() -> None:
        await asyncio.gather(port.call(500), port.call(1))
        await port.call(1)

    _, trips = await gate.count(work())
    assert trips.rounds == (Counter({READ: 2}), Counter({READ: 1}))
    assert trips.calls == {READ: 3}


async def test_calls_after_the_result_are_counted_apart() -> None:
    """A call of a task that outlives the work is counted among the later round trips."""
    gate, port = gated()
    tasks: list[asyncio.Task[int]] = []

    async def work() -> None:
        tasks.append(asyncio.create_task(port.call(1)))

    _, trips = await gate.count(work())
    assert (trips.rounds, trips.after) == ((), (Counter({READ: 1}),))
    assert await tasks[0] == 1


async def test_uncounted_calls_do_not_wait() -> None:
    """Outside of a count, a call is made at once."""
    _, port = gated()
    assert await port.call(2) == 2


async def test_an_error_of_the_work_is_raised() -> None:
    """When the work fails, the count raises its error."""
    gate, _ = gated()

    async def work() -> None:
        raise LookupError("no such account")

    with pytest.raises(LookupError, match="no such account"):
        await gate.count(work())


async def test_a_batch_of_several_commands_is_several_round_trips() -> None:
    """A call of which the driver makes several commands counts as so many round trips, one after the other."""
    gate, port = Gate(), Port()
    gate.hold(port, COMMIT, "call", commands=lambda turns: turns)
    _, trips = await gate.count(port.call(3))
    assert trips.rounds == (Counter({COMMIT: 1}),) * 3


def test_commands_of_a_batch() -> None:
    """Neighbouring statements of one kind are one command; a replacement is an update."""
    insert, update, delete = Insert({}), Update({}, {}), Delete({})
    assert kinds_in_turn("c", [insert, insert]) == 1
    assert kinds_in_turn("c", [update, Replace({}, {}), delete, update]) == 3


def test_table_of_trips() -> None:
    """The table has the calls of each function and the round trips until a payment is settled."""
    one = Trips((Counter({READ: 2}), Counter({COMMIT: 1}), Counter({BUS: 1})), (Counter({CACHE: 1}),))
    lines = table(dict.fromkeys(PATH, one)).splitlines()
    assert lines[2] == "| payments/create_payment | 2 | 1 |  |  | 1 | 1 |  | 5 | 3, 1 later |"
    assert lines[-2] == "| a payment | 14 | 7 |  |  | 7 | 7 |  | 35 |  |"
    assert lines[-1] == "| waits until settled | 5 | 5 |  |  |  | 4 |  |  | 14 |"


def test_round_trips_until_a_purpose() -> None:
    """A step begins when the one before has published; the last round trip for a purpose counts."""
    trips = Trips(
        (Counter({READ: 1}), Counter({COMMIT: 1}), Counter({COMMIT: 1}), Counter({BUS: 1}), Counter({CACHE: 1}))
    )
    assert (trips.until(COMMIT), trips.until(BUS)) == (3, 4)


def test_table_is_written_between_the_marks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Writing replaces the table of the page and nothing else."""
    page = tmp_path / "page.md"
    page.write_text(f"# Before\n\n{round_trips.BEGIN}\n\n| old |\n\n{round_trips.END}\n\nBehind.\n")
    monkeypatch.setattr(round_trips, "PAGE", page)
    write("| new |")
    assert round_trips.written() == "| new |"
    assert page.read_text() == f"# Before\n\n{round_trips.BEGIN}\n\n| new |\n\n{round_trips.END}\n\nBehind.\n"


def test_page_without_a_place_for_the_table(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A page that has lost the marks is not changed, and the error names them."""
    page = tmp_path / "page.md"
    page.write_text("# Nothing\n")
    monkeypatch.setattr(round_trips, "PAGE", page)
    monkeypatch.setattr(round_trips, "ROOT", tmp_path)
    with pytest.raises(SystemExit, match="no place for the table"):
        write("| new |")
    assert page.read_text() == "# Nothing\n"


@pytest.fixture(scope="module")
def payment_on_servers(
    mongodb_url: str, cassandra_url: str, redis_url: str, kafka_url: str, openbao_url: str
) -> tuple[dict[str, Trips], int]:
    """The trips of a payment, and the number of commands that the driver of MongoDB has sent for them."""
    urls = {
        "mongodb": mongodb_url,
        "cassandra": cassandra_url,
        "redis": redis_url,
        "kafka": kafka_url,
        "openbao": openbao_url,
    }
    settings = settings_on(urls, f"trips_{uuid4().hex[:12]}")
    recorder = Recorder()
    sent: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            if not name.startswith("LASTRO_"):
                patch.setenv(name, value)
        patch.setattr(store, "Server", partial(Server, listeners=[recorder]))
        made = Gate.count

        async def counting(gate: Gate, work: Any) -> Any:
            recorder.drain()
            result = await made(gate, work)
            sent.extend(recorder.drain())
            return result

        patch.setattr(Gate, "count", counting)
        return asyncio.run(count(settings)), len(sent)


def test_every_call_to_mongodb_is_counted(payment_on_servers: tuple[dict[str, Trips], int]) -> None:
    """The counted calls to MongoDB are as many as the commands that its driver has sent."""
    found, sent = payment_on_servers
    calls = sum((trips.calls for trips in found.values()), Counter[str]())
    assert calls[READ] + calls[COMMIT] + calls[round_trips.MARK] == sent


def test_round_trips_of_a_payment(payment_on_servers: tuple[dict[str, Trips], int]) -> None:
    """The page has exactly the calls and round trips that each function of a payment makes on the real servers."""
    found, _ = payment_on_servers
    assert table(found) == round_trips.written(), "run `task count:servers -- --write` and look at what has changed"


def test_hold_funds_reads_in_three_rounds_and_commits_once(payment_on_servers: tuple[dict[str, Trips], int]) -> None:
    """Holding funds reads the inbox with its lock, then the hold and both accounts, then the payer's owner; and has one
    transaction."""
    rounds = payment_on_servers[0]["accounts/hold_funds"].rounds
    transaction = (Counter({COMMIT: 1}),) * 5
    reads = (Counter({READ: 1, CACHE: 1}), Counter({READ: 3}), Counter({READ: 1}))
    assert rounds[:8] == reads + transaction
