"""What must hold after a fault: nothing that was answered is lost, every command has one effect, all books agree."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from types import SimpleNamespace
from typing import Any, Final, cast

from events.ledger import TransferPosted
from events.payments.capture_requested import PaymentCaptureRequested
from events.payments.created import PaymentCreated
from events.refunds import RefundCreated, RefundPostingRequested
from shared.adapters.cassandra.store import CassandraStore
from shared.adapters.kafka.address import read_address
from shared.adapters.kafka.tail import TopicTail
from shared.adapters.mongodb.documents import MongoDocuments
from shared.adapters.mongodb.driver import Server
from shared.context.ledger_verification import verify_ledger
from shared.core.settings import Settings
from shared.messaging.kafka_binding import from_kafka
from shared.ports.documents import Documents, Unavailable
from shared.ports.ledger import LedgerStore
from shared.records.catalogue import COLLECTIONS
from tests.faults.client import LIMIT_SECONDS, Client
from tests.faults.load import ENDED, REFUND_ENDED, Load
from tests.faults.stage import Stage
from tests.invariants.books import Platform, check_books

_PAUSE: Final = 0.3
_ASKED_AGAIN: Final = frozenset(
    fact.type for fact in (PaymentCreated, PaymentCaptureRequested, RefundCreated, RefundPostingRequested)
)
"""Facts that are published again when the next step has not followed in time. All others state a result."""


@dataclass(frozen=True)
class World:
    """The stores of a stage, read by the tests themselves."""

    documents: Documents
    ledger: LedgerStore
    bus: str
    """The URL of Kafka."""

    @property
    def platform(self) -> Platform:
        """The stores as the checks of the books want them."""
        return cast("Platform", SimpleNamespace(runtime=self))


@asynccontextmanager
async def stores_of(stage: Stage) -> AsyncIterator[World]:
    """Open the stores, past the proxies."""
    servers, settings = stage.servers, stage.settings
    async with AsyncExitStack() as stack:
        documents = servers.past_the_proxy(stage.layout.documents, settings["LASTRO_DOCUMENTS"])
        server = await stack.enter_async_context(aclosing(Server(documents)))
        ledger = await stack.enter_async_context(
            CassandraStore(servers.past_the_proxy(stage.layout.ledger, settings["LASTRO_LEDGER"]))
        )
        yield World(MongoDocuments(server, COLLECTIONS), ledger, stage.settings["LASTRO_BUS"])


async def check_all(world: World, load: Load) -> tuple[Counter[str], int]:
    """Wait until nothing is in progress, and check everything. Return the number of payments by status, and of the
    dead letters that were replayed."""
    client = load.client
    replayed = await _replay_until_final(client, load)
    await _check_commands(client, load)
    await _eventually_right(world, client)
    await verify_ledger(world.ledger, client.id)
    assert await digest_of_events(world, client.id) == await digest_of_postings(world, client.id)
    await client.check_answers()
    payments = await client.listed("/v1/payments")
    return Counter(payment["status"] for payment in payments), replayed


async def _replay_until_final(client: Client, load: Load) -> int:
    """Wait until every payment and refund is final, and replay dead letters meanwhile. Return their number."""
    replayed = 0
    waiting = {f"/v1/payments/{made['id']}": ENDED for made in load.made.values()}
    waiting |= {f"/v1/refunds/{made['id']}": REFUND_ENDED for made in load.refunds.values()}
    try:
        async with asyncio.timeout(LIMIT_SECONDS):
            while True:
                waiting = {
                    path: ends for path, ends in waiting.items() if (await client.get(path))["status"] not in ends
                }
                parked = await client.listed("/v1/dead-letters?status=parked")
                if not waiting and not parked:
                    return replayed
                for letter in parked:
                    replayed += 1
                    print(f"dead letter of {letter['consumer']}: {letter['event']['type']}, {letter['cause']}")
                    path = f"/v1/dead-letters/{letter['id']}/replay"
                    await client.command(f"replay-{letter['id']}-{letter['attempts']}", path, {})
                await asyncio.sleep(_PAUSE)
    except TimeoutError:
        stuck = [await client.get(path) for path in list(waiting)[:3]]
        raise AssertionError(f"{len(waiting)} are not final: {stuck}") from None


async def _check_commands(client: Client, load: Load) -> None:
    """Check that each accepted command has one effect, and that nothing else exists."""
    payments = await client.listed("/v1/payments")
    assert sorted(payment["id"] for payment in payments) == sorted(made["id"] for made in load.made.values())
    assert {payment["status"] for payment in payments} <= {"settled", "declined"}, payments
    reasons = {payment["failure"]["code"] for payment in payments if payment["failure"]}
    assert reasons <= {"insufficient_funds"}
    for payment in payments:
        events = await client.listed(f"/v1/payments/{payment['id']}/events")
        results = [event for event in events if event["type"] not in _ASKED_AGAIN]
        once = Counter((event["type"], event["data"].get("refund_id")) for event in results)
        assert set(once.values()) == {1}, once


async def _eventually_right(world: World, client: Client) -> None:
    """Wait until the outbox is empty and accounts, ledger, holds and statements agree line by line."""
    wrong: Exception = AssertionError("nothing was checked")
    try:
        async with asyncio.timeout(LIMIT_SECONDS):
            while True:
                try:
                    left = [event.type for event in await world.documents.unsent("9", 1000)]
                    assert not left, f"events in the outbox: {Counter(left)}"
                    await check_books(world.platform, client)
                except (AssertionError, Unavailable) as error:
                    wrong = error
                    await asyncio.sleep(_PAUSE)
                else:
                    return
    except TimeoutError:
        raise wrong from None


async def digest_of_events(world: World, tenant_id: str) -> str:
    """Return the digest of the postings that the events on Kafka tell of. A repeated event must be the same."""
    address, found = read_address(world.bus), dict[str, list[Any]]()
    async with TopicTail(address, Settings(), [TransferPosted.topic]) as tail:
        for record in await tail.past():
            event = from_kafka(record.headers, record.value or b"")
            if event.type != TransferPosted.type or event.tenant_id != tenant_id:
                continue
            posted = cast("TransferPosted", event.parsed(TransferPosted))
            legs = [(leg.account_id, leg.direction, leg.amount, leg.sequence, leg.balance_after) for leg in posted.legs]
            assert found.setdefault(posted.transfer_id, legs) == legs, f"{posted.transfer_id} was posted differently"
    return _digest((id, *leg) for id, legs in found.items() for leg in legs)


async def digest_of_postings(world: World, tenant_id: str) -> str:
    """Return the digest of the entries of the ledger."""
    lines: list[tuple[Any, ...]] = []
    for turnover in await world.ledger.turnover(tenant_id):
        for entry in await world.ledger.entries(tenant_id, turnover.account_id, 0, 100_000):
            amounts = (entry.amount, entry.sequence, entry.balance_after)
            lines += [(entry.transfer_id, entry.account_id, entry.direction, *amounts)]
    return _digest(lines)


def _digest(lines: Iterable[tuple[Any, ...]]) -> str:
    return sha256(json.dumps(sorted(lines)).encode()).hexdigest()
