"""The path of a payment through standalone functions, two processes of each, as on a cluster.

Documents are stored through MongoDB's wire protocol, the ledger in Cassandra. The test acts as the broker: it delivers
the events of the outbox, each to both processes of a function concurrently. Only the test publishes them, because it
has locked the data directory with the embedded log.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from random import Random
from uuid import uuid4

import hvac
import orjson
import pytest

from events.payments.capture_requested import PaymentCaptureRequested
from events.payments.created import PaymentCreated
from functions.statements._lines import in_period
from shared.adapters.cassandra.schema import migrate
from shared.adapters.cassandra.store import CassandraStore
from shared.adapters.cassandra.url import CassandraUrl
from shared.adapters.files.keyfile import KEY_FILE
from shared.adapters.mongodb.documents import MongoDocuments
from shared.adapters.mongodb.driver import Server
from shared.adapters.vault.address import read_address
from shared.adapters.vault.setup import set_up
from shared.core.envelope import Envelope
from shared.ports.documents import Query
from shared.ports.ledger import LedgerStore
from shared.records.accounts import ACCOUNTS, HOLDS
from shared.records.catalogue import COLLECTIONS
from shared.records.payments import PAYMENTS
from shared.records.statement_lines import LINES
from tests.contract.calling import Client, Pair, new_pair, running
from tests.functions.alone.processes import PATH, PROCESSES, Function, functions
from tests.functions.alone.starting import Reply
from tests.invariants.deliveries import deliveries_of
from tests.ports.mongodb_databases import dropped, migrated, new_database
from tests.servers.openbao_server import ROOT_TOKEN

NUMBER = 10
VICTIMS = {
    "lastro.payment.created.v1": "accounts/hold_funds",
    "lastro.payment.capture_requested.v1": "ledger/post_transfer",
    "lastro.ledger.transfer_posted.v1": "accounts/apply_transfer",
}
"""A process of this function is killed at the first delivery of an event of the type."""
ASKED_AGAIN = frozenset({PaymentCreated.type, PaymentCaptureRequested.type})
"""Facts that are published again when the next step has not followed in time. All others state a result."""
RETRIED = (409, 503)


@pytest.fixture
def database(mongodb_url: str) -> Iterator[str]:
    """The URL of a database with all collections."""
    url = new_database(mongodb_url)
    migrated(url, COLLECTIONS)
    yield url
    dropped(url)


@pytest.fixture
def vault(openbao_url: str) -> dict[str, str]:
    """The variables with which a process logs in to a Vault that is set up."""
    name = f"test-{uuid4().hex[:12]}"
    url = f"{openbao_url}?auth=approle&login={name}&kv=kv-{name}&transit=transit-{name}&prefix={name}"
    set_up(read_address(url), ROOT_TOKEN, lambda _: None)
    client = hvac.Client(openbao_url.removeprefix("vault+"), token=ROOT_TOKEN)
    role = f"auth/{name}/role/{name}-platform"
    return {
        "LASTRO_SECRETS": url,
        "VAULT_ROLE_ID": client.read(f"{role}/role-id")["data"]["role_id"],
        "VAULT_SECRET_ID": client.write_data(f"{role}/secret-id")["data"]["secret_id"],
    }


async def create(function: Function, client: Client, pair: Pair, number: int) -> str:
    """Send one command to both processes concurrently until one of them answers. Return the payment's id."""
    body = orjson.dumps(pair.payment())
    while True:
        headers = [client.headers("POST", "/v1/payments", body, key=f"order-{number}") for _ in range(PROCESSES)]
        replies = [
            each for each in await function.both("POST", "/v1/payments", headers, body) if isinstance(each, Reply)
        ]
        assert {reply.status for reply in replies} <= {201, *RETRIED}, [reply.body for reply in replies]
        ids = {orjson.loads(reply.body)["id"] for reply in replies if reply.status == 201}
        assert len(ids) <= 1
        if ids:
            return str(ids.pop())


async def deliver(started: dict[str, Function], envelope: Envelope) -> None:
    """Deliver an event to both processes of each consumer concurrently, until one has applied it."""
    headers, body = envelope.to_binary()
    for function in (started[each.consumer.id] for each in deliveries_of(envelope) if each.consumer.id in started):
        while True:
            replies = await function.both("POST", "/", [headers] * PROCESSES, body)
            statuses = {reply.status for reply in replies if isinstance(reply, Reply)}
            assert statuses <= {204, *RETRIED}, statuses
            if 204 in statuses:
                break


async def deliver_all(started: dict[str, Function], documents: MongoDocuments, random: Random) -> None:
    """Deliver the events of the outbox in any order, four concurrently, until it is empty, and kill the victims."""
    victims = dict(VICTIMS)
    while events := list(await documents.unsent("9", 100)):
        random.shuffle(events)
        batch = events[:4]
        delivering = [asyncio.create_task(deliver(started, event)) for event in batch]
        for victim in {victims.pop(event.type) for event in batch if event.type in victims}:
            await asyncio.to_thread(started[victim].kill)
        await asyncio.gather(*delivering)
        await documents.mark_sent(batch)
    assert not victims, "each of them was killed"


async def check(documents: MongoDocuments, ledger: LedgerStore, pair: Pair, made: list[str]) -> None:
    """Check that each command has had one effect, and that the books agree."""
    tenant_id, total = pair.client.tenant_id, 100 * len(made)
    payments = await documents.find(PAYMENTS, tenant_id, Query(limit=100))
    holds = await documents.find(HOLDS, tenant_id, Query(limit=100))
    assert sorted(payment["id"] for payment in payments) == sorted(made)
    assert {payment["status"] for payment in payments} == {"settled"}
    assert sorted(hold["payment_id"] for hold in holds) == sorted(made)
    assert {hold["status"] for hold in holds} == {"captured"}
    for account_id, posted in ((pair.payer, -total), (pair.payee, total)):
        account = await documents.get(ACCOUNTS, tenant_id, account_id)
        assert account is not None
        assert (account["posted"], account["held"]) == (posted, 0)
        entries = await ledger.entries(tenant_id, account_id, 0, 100)
        assert [entry.sequence for entry in entries] == list(range(1, len(made) + 1))
        assert entries[-1].balance_after == posted
        lines = await documents.find(LINES, tenant_id, in_period(account_id, None, None)._replace(limit=100))
        assert len(lines) == len(made)
    for payment_id in made:
        timeline = await documents.history(tenant_id, payment_id, None, 100)
        types = Counter(event.type for event in timeline if event.type not in ASKED_AGAIN)
        assert max(types.values()) == 1, types
        assert "lastro.payment.settled.v1" in types


async def test_two_processes_of_each_function_have_one_effect(
    tmp_path: Path, database: str, cassandra_url: str, vault: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each command is sent to both processes of its function, and each event is delivered to both, while one process of
    each of three functions is killed and replaced. Every payment settles, with one hold, one transfer and one statement
    line for each side, and the books agree. The processes share their secrets through Vault, and none has a key file.
    """
    await migrate(CassandraUrl.parse(cassandra_url), lambda step: None)
    data_dir, random = tmp_path / "data", Random(1)
    for name, value in vault.items():
        monkeypatch.setenv(name, value)
    secrets = vault["LASTRO_SECRETS"]
    async with running(data_dir, documents=database, ledger=cassandra_url, secrets=secrets) as deployment:
        pair = await new_pair(await deployment.tenant())
        client, base_url = pair.client.with_token(pair.client.token), deployment.platform.settings.base_url
    settings = {
        "LASTRO_DOCUMENTS": database,
        "LASTRO_LEDGER": cassandra_url,
        "LASTRO_BASE_URL": base_url,
        "LASTRO_DATA_LOCK_SECONDS": "0",
        **vault,
    }
    async with aclosing(Server(database)) as server, CassandraStore(cassandra_url) as ledger:
        documents = MongoDocuments(server, COLLECTIONS)
        with functions(PATH, data_dir, settings) as started:
            function = started["payments/create_payment"]
            made = await asyncio.gather(*(create(function, client, pair, number) for number in range(NUMBER)))
            await deliver_all(started, documents, random)
        assert len(set(made)) == NUMBER
        await check(documents, ledger, pair, list(made))
    assert not (data_dir / KEY_FILE).exists()
