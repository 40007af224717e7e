"""A platform whose documents are on a server; the ledger and the log are in the embedded store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from shared.adapters.memory.stores import MemoryDocuments, MemoryNonces
from shared.adapters.sqlite.apart import DurableLedger, LogPublisher
from shared.bootstrap import adapters
from shared.core.envelope import Envelope
from shared.ports.documents import Unavailable
from shared.ports.lifecycle import Adapter, AdapterOptions, NotOpened
from shared.records.catalogue import COLLECTIONS
from shared.records.payments import PAYMENTS
from tests.contract.calling import Deployment, Pair, in_status, new_pair, running
from tests.waiting import PATIENCE_SECONDS

URL = "test://user:password@server/lastro"


class Server(Adapter):
    """A connection to documents that outlive the process."""

    adapter_name = "server of documents"
    reachable = True
    connections = 0

    def __init__(self, documents: MemoryDocuments) -> None:
        self.documents = documents
        self.nonces = MemoryNonces()

    async def _open(self, closing: AsyncExitStack) -> None:
        if not Server.reachable:
            raise NotOpened("the server of documents at server does not answer")
        Server.connections += 1
        closing.callback(self._disconnect)

    def _disconnect(self) -> None:
        Server.connections -= 1


@pytest.fixture(autouse=True)
def documents(monkeypatch: pytest.MonkeyPatch) -> Iterator[MemoryDocuments]:
    """Serve documents to LASTRO_DOCUMENTS=test://…, and expect that every connection is closed."""
    documents = MemoryDocuments(COLLECTIONS)

    def make(options: AdapterOptions) -> Server:
        assert (options.url, options.ports) == (URL, frozenset({"documents", "nonces"}))
        return Server(documents)

    monkeypatch.setattr(adapters, "_test_server", make, raising=False)
    openers = {**adapters.OPENERS["documents"], "test": "shared.bootstrap.adapters._test_server"}
    monkeypatch.setattr(adapters, "OPENERS", {**adapters.OPENERS, "documents": openers})
    monkeypatch.setattr(Server, "reachable", True)
    yield documents
    assert Server.connections == 0


async def paid(pair: Pair) -> str:
    """Make a payment of 1.00, wait until it is settled, and return its id."""
    payment_id: str = (await pair.client.made("/v1/payments", pair.payment()))["id"]
    await in_status(pair.client, f"/v1/payments/{payment_id}", "settled")
    return payment_id


async def assert_books_agree(deployment: Deployment, pair: Pair, paid: int) -> None:
    """What was paid is in the accounts and in the statements, and the ledger has the same balances."""
    assert await deployment.platform.broker.idle(PATIENCE_SECONDS)
    ledger = deployment.platform.runtime.ledger
    for account, posted in ((pair.payer, -paid), (pair.payee, paid)):
        assert (await pair.client.read(f"/v1/accounts/{account}/balance"))["posted"] == posted
        assert await ledger.balance(pair.client.tenant_id, account) == posted


async def test_payments_settle_across_two_stores(tmp_path: Path, documents: MemoryDocuments) -> None:
    """With the documents on a server, payments pass through the embedded ledger and broker; a restart delivers no event
    again, and the books agree."""
    async with running(tmp_path, documents=URL) as deployment:
        assert isinstance(deployment.platform.runtime.ledger, DurableLedger)
        pair = await new_pair(await deployment.tenant())
        first = await paid(pair)
        assert await documents.get(PAYMENTS, "demo", first) is not None
        await assert_books_agree(deployment, pair, 100)
    async with running(tmp_path, documents=URL) as deployment:
        assert await deployment.platform.broker.idle(PATIENCE_SECONDS)
        counts = deployment.platform.broker.summary().subscriptions.values()
        assert [each.delivered + each.dead_lettered for each in counts if each.delivered + each.dead_lettered] == []
        pair = Pair(await deployment.tenant(), pair.payer, pair.payee)
        second = await paid(pair)
        await assert_books_agree(deployment, pair, 200)
        timeline = (await pair.client.read(f"/v1/payments/{second}/events"))["data"]
        assert [timeline[0]["type"], timeline[-1]["type"]] == [
            "lastro.payment.created.v1",
            "lastro.payment.settled.v1",
        ]


async def test_events_that_were_not_published_are_published_by_the_sweep(
    tmp_path: Path, documents: MemoryDocuments, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events that were committed on the server and not published stay in its outbox, and the sweep publishes them."""
    publish, refused = LogPublisher.publish, True

    async def interrupted(bus: LogPublisher, events: Sequence[Envelope]) -> None:
        if refused:
            raise Unavailable("the log does not take events")
        await publish(bus, events)

    async with running(tmp_path, documents=URL, outbox_grace_seconds=0) as deployment:
        pair = await new_pair(await deployment.tenant())
        monkeypatch.setattr(LogPublisher, "publish", interrupted)
        payment_id = (await pair.client.made("/v1/payments", pair.payment()))["id"]
        assert await deployment.platform.broker.idle(PATIENCE_SECONDS)
        assert [event.type for event in await documents.unsent("9999", 10)] == ["lastro.payment.created.v1"]
        refused = False
        schedules = deployment.platform.schedules
        for entry in schedules._entries:
            if entry.ping.name == "operations-sweep-outbox":
                schedules._tick(entry)
        await in_status(pair.client, f"/v1/payments/{payment_id}", "settled")
        await assert_books_agree(deployment, pair, 100)
        assert not await documents.unsent("9999", 10)


async def test_an_event_that_is_published_twice_has_one_effect(tmp_path: Path, documents: MemoryDocuments) -> None:
    """The log takes an event as often as it is published, and the inbox on the server lets it be applied once."""
    async with running(tmp_path, documents=URL) as deployment:
        pair = await new_pair(await deployment.tenant())
        await paid(pair)
        assert await deployment.platform.broker.idle(PATIENCE_SECONDS)
        await deployment.platform.runtime.bus.publish(documents.events)
        await assert_books_agree(deployment, pair, 100)
        counts = deployment.platform.broker.summary().subscriptions.values()
        assert sum(each.dead_lettered + each.retried for each in counts) == 0


async def test_a_server_that_does_not_answer_stops_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start whose server does not answer fails with one line, and releases the data directory."""
    monkeypatch.setattr(Server, "reachable", False)
    with pytest.raises(NotOpened, match="the server of documents at server does not answer"):
        async with running(tmp_path, documents=URL):
            pass
    async with running(tmp_path, data_lock_seconds=0.0):
        pass
