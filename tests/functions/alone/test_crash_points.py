"""kill -9 at every crash point of the functions of the payment path, as they stand alone on real servers.

MongoDB, Cassandra, Redis and Kafka are shared. The functions publish their events on Kafka, and the test acts as the
Broker: it reads the topics and delivers. Each function has a process that lives and one that dies at the next of its
crash points; the event or request is then sent to another process of the function.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final

import orjson
import pytest

from events.catalogue import CATALOGUE
from events.sweeps import Tick
from shared.adapters.cassandra.store import CassandraStore
from shared.adapters.kafka.address import read_address
from shared.adapters.kafka.tail import TopicTail
from shared.adapters.mongodb.documents import MongoDocuments
from shared.adapters.mongodb.driver import Server
from shared.context.ledger_verification import verify_ledger
from shared.core.clock import SystemClock, format_time
from shared.core.crash_points import EMBEDDED, NAMES
from shared.core.envelope import Envelope
from shared.core.settings import Settings
from shared.ports.documents import Commit
from shared.records.catalogue import COLLECTIONS
from shared.records.payments import PAYMENTS
from tests.contract.calling import Client, Pair, new_pair, running
from tests.faults.checks import World, digest_of_events, digest_of_postings
from tests.faults.outcome import record_points
from tests.functions.alone.doomed import Broker, Doomed, deliver
from tests.functions.alone.processes import PATH, functions
from tests.functions.alone.starting import Alone, Reply
from tests.functions.alone.test_two_processes import check
from tests.servers.mongodb_server import MongodbServer
from tests.servers.processes import Processes
from tests.servers.stores import Urls, stores
from tests.waiting import PATIENCE_SECONDS

COMMIT: Final = ("documents.written", "documents.committed")
EVENT: Final = ("event.decided", *COMMIT, "event.committed", "outbox.published")
POINTS: Final = {
    "payments/create_payment": (
        *("request.decided", *COMMIT, "request.committed", "outbox.published"),
        *("request.waited", "request.closed", "request.durable"),
    ),
    **dict.fromkeys(PATH[1:], EVENT),
    "ledger/post_transfer": ("ledger.claimed", "ledger.appended", *EVENT),
    "operations/sweep_outbox": ("event.decided", *COMMIT, "event.committed"),
    "operations/sweep_sagas": (
        "event.decided",
        "event.committed",
        "part.decided",
        *COMMIT,
        "part.committed",
        "outbox.published",
    ),
    "payments/request_capture": (),
}
"""The crash points that each function passes."""
OF_THE_BROKER: Final = frozenset(name for name in NAMES if name.startswith("broker."))
"""Points of the embedded Broker, which functions that stand alone do not have."""
SETTINGS: Final = {
    # How long the key or event of a killed process stays locked.
    "LASTRO_LOCK_SECONDS": "2",
    "LASTRO_OUTBOX_GRACE_SECONDS": "0",
    "LASTRO_SAGA_STEP_SECONDS": "600",
}
TRANSACTION_SECONDS: Final = 2
"""How long the document store lets a transaction of a killed process block others."""
AT_MOST: Final = 40
_PAUSE: Final = 0.1
_numbers = count()

pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(scope="module")
def own_mongodb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A document store for this module, which soon aborts the transactions of killed processes."""
    processes = Processes(tmp_path_factory.mktemp("mongodb"))
    server = MongodbServer(transaction_seconds=TRANSACTION_SECONDS)
    server.install()
    try:
        yield server.start(processes)
    finally:
        processes.stop()


@pytest.fixture
def urls(own_mongodb: str, cassandra_url: str, redis_url: str, kafka_url: str) -> Iterator[Urls]:
    """A database, a keyspace, names in Redis, and topics for this test."""
    with stores(own_mongodb, cassandra_url, redis_url, kafka_url) as urls:
        yield urls


@dataclass
class Stage:
    """The functions, their Broker, and the stores, which the test reads itself."""

    doomed: dict[str, Doomed]
    broker: Broker
    documents: MongoDocuments
    pair: Pair

    @property
    def tenant_id(self) -> str:
        """The id of the tenant."""
        return self.pair.client.tenant_id

    def left(self, *ids: str) -> dict[str, list[str]]:
        """Return the points that were not visited, of some functions."""
        return {id: self.doomed[id].left for id in ids if self.doomed[id].left}

    async def tick(self, id: str) -> None:
        """Let a schedule's function do its work."""
        event = Envelope(f"tick-{next(_numbers)}", "/ping", Tick.type, None, now(), {}, data=b"{}")
        await deliver(self.doomed[id], event)

    async def create(self, number: int) -> dict[str, Any]:
        """Send the command of a payment until it is answered. A repeated command gets the same answer."""
        body = orjson.dumps(self.pair.payment())

        def send(alone: Alone) -> Reply:
            client: Client = self.pair.client
            headers = client.headers("POST", "/v1/payments", body, key=f"order-{number}")
            return alone.send("POST", "/v1/payments", headers | {"prefer": "wait=10"}, body)

        reply = await self.doomed["payments/create_payment"].answered(send)
        assert reply.status == 201, reply.body
        answer: dict[str, Any] = orjson.loads(reply.body)
        return answer

    async def status(self, payment_id: str) -> str:
        """Return the status of a payment."""
        payment = await self.documents.get(PAYMENTS, self.tenant_id, payment_id)
        assert payment is not None, f"{payment_id} was answered and is lost"
        return payment["status"]

    async def come_to_rest(self, made: list[str]) -> None:
        """Sweep the outbox until every payment is settled and nothing is in progress."""
        async with asyncio.timeout(3 * PATIENCE_SECONDS):
            while True:
                if await self.documents.unsent("9", 1):
                    await self.tick("operations/sweep_outbox")
                statuses = {await self.status(payment_id) for payment_id in made}
                assert statuses <= {"created", "authorized", "capturing", "settled"}
                # The delivery of what was published last may not have begun, so this is asked again at the end.
                if statuses == {"settled"} and self.broker.is_idle and not await self.documents.unsent("9", 1):
                    return
                await asyncio.sleep(_PAUSE)

    async def make_overdue(self, payment_id: str) -> None:
        """Let the deadline of a payment's step pass."""
        payment = await self.documents.get(PAYMENTS, self.tenant_id, payment_id)
        assert payment is not None
        overdue: Any = {**payment, "due_at": "2026-01-01T00:00:00.000000Z"}
        await self.documents.commit(Commit(self.tenant_id, replaces=[(PAYMENTS, overdue)]))


def now() -> str:
    """Return the time."""
    return format_time(SystemClock().now())


@asynccontextmanager
async def staged(urls: Urls, data_dir: Path) -> AsyncIterator[Stage]:
    """Start the functions, and deliver their events."""
    async with running(data_dir, **urls._asdict()) as deployment:
        pair = await new_pair(await deployment.tenant())
        pair = Pair(pair.client.with_token(pair.client.token), pair.payer, pair.payee)
        settings = {"LASTRO_BASE_URL": deployment.platform.settings.base_url, **SETTINGS}
        settings |= {f"LASTRO_{name.upper()}": url for name, url in urls._asdict().items()}
    topics = sorted({model.topic for model in CATALOGUE.values()})
    with functions(POINTS, data_dir, settings, processes=1) as started:
        doomed = {id: Doomed(started[id], points) for id, points in POINTS.items()}
        broker = Broker(doomed)
        async with (
            aclosing(Server(urls.documents)) as server,
            TopicTail(read_address(urls.bus), Settings(), topics) as tail,
        ):
            await tail.skip_to_the_end()
            delivering = asyncio.create_task(broker.run(tail))
            yield Stage(doomed, broker, MongoDocuments(server, COLLECTIONS), pair)
            assert not delivering.done(), delivering.exception()
            delivering.cancel()


async def make_payments(stage: Stage) -> list[str]:
    """Make payments until every function of their path has died at each of its points."""
    path = (*PATH, "operations/sweep_outbox")
    answers: list[dict[str, Any]] = []
    while stage.left(*path):
        assert len(answers) < AT_MOST, f"points that were not reached: {stage.left(*path)}"
        answers.append(await stage.create(len(answers)))
        await stage.come_to_rest([answer["id"] for answer in answers])
    for number, answer in enumerate(answers):
        assert await stage.create(number) == answer, "the answer to a command is another now"
    return [answer["id"] for answer in answers]


async def sweep_an_overdue_payment(stage: Stage) -> str:
    """Make a payment whose first event is not delivered, and let the sweep of what is overdue die at its points."""
    stage.broker.withholds = lambda event: event.type == "lastro.payment.created.v1"
    payment_id: str = (await stage.create(AT_MOST))["id"]
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not stage.broker.withheld:  # noqa: ASYNC110 - it comes by Kafka
            await asyncio.sleep(_PAUSE)
    for _ in range(AT_MOST):
        if not stage.left("operations/sweep_sagas"):
            break
        await stage.make_overdue(payment_id)
        await stage.tick("operations/sweep_sagas")
    assert stage.left("operations/sweep_sagas") == {}
    stage.broker.release()
    await stage.come_to_rest([payment_id])
    return payment_id


def test_every_crash_point_of_servers_is_visited() -> None:
    """Every crash point that a process on servers reaches is one of a function here, or of the embedded Broker."""
    visited = {point for points in POINTS.values() for point in points}
    assert visited == set(NAMES) - EMBEDDED - OF_THE_BROKER


async def test_functions_are_killed_at_every_crash_point(urls: Urls, tmp_path: Path) -> None:
    """A process of each function of the payment path is killed at each crash point that it passes: every answered
    payment settles with one hold, one transfer and one line for each side, the answers stay the same, the ledger
    verifies, no amount stays held, and the postings in the events are those of the ledger."""
    async with staged(urls, tmp_path / "data") as stage, CassandraStore(urls.ledger) as ledger:
        made = await make_payments(stage)
        made.append(await sweep_an_overdue_payment(stage))
        await check(stage.documents, ledger, stage.pair, made)
        await verify_ledger(ledger, stage.tenant_id)
        world = World(stage.documents, ledger, urls.bus)
        assert await digest_of_events(world, stage.tenant_id) == await digest_of_postings(world, stage.tenant_id)
        assert not await stage.documents.unsent("9", 1)
        visited = {id: tuple(doomed.visited) for id, doomed in stage.doomed.items() if doomed.visited}
    assert visited == {id: points for id, points in POINTS.items() if points}
    print(f"{len(made)} payments, {sum(len(points) for points in visited.values())} kills")
    record_points(visited, payments=len(made))
