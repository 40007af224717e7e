"""The platform with its documents on MongoDB's wire protocol; the ledger and the log are in the embedded store."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.adapters.mongodb.documents import MongoDocuments
from shared.adapters.sqlite.apart import DurableLedger
from shared.ports.documents import Query
from shared.ports.lifecycle import NotOpened
from shared.records.accounts import HOLDS
from shared.records.catalogue import COLLECTIONS
from shared.records.payments import PAYMENTS
from tests.contract.calling import Deployment, Pair, in_status, new_pair, running
from tests.ports.mongodb_databases import dropped, migrated, new_database
from tests.waiting import PATIENCE_SECONDS


@pytest.fixture
def database(mongodb_url: str) -> Iterator[str]:
    """The URL of a database with all collections."""
    url = new_database(mongodb_url)
    migrated(url, COLLECTIONS)
    yield url
    dropped(url)


async def assert_books_agree(deployment: Deployment, pair: Pair, paid: int) -> None:
    """Check that what was paid is in the accounts, and that the ledger has the same balances."""
    assert await deployment.platform.broker.idle(PATIENCE_SECONDS)
    for account, posted in ((pair.payer, -paid), (pair.payee, paid)):
        assert (await pair.client.read(f"/v1/accounts/{account}/balance"))["posted"] == posted
        assert await deployment.platform.runtime.ledger.balance(pair.client.tenant_id, account) == posted


async def test_payments_settle_with_the_documents_on_mongodb(tmp_path: Path, database: str) -> None:
    """Payments at once settle with signed requests, events, timeline and statement; after a restart nothing is applied
    again, and the outbox has nothing that was not published."""
    async with running(tmp_path, documents=database) as deployment:
        assert isinstance(deployment.platform.runtime.documents, MongoDocuments)
        assert isinstance(deployment.platform.runtime.ledger, DurableLedger)
        pair = await new_pair(await deployment.tenant())
        made = await asyncio.gather(*(pair.client.made("/v1/payments", pair.payment()) for _ in range(8)))
        for payment in made:
            await in_status(pair.client, f"/v1/payments/{payment['id']}", "settled")
        await assert_books_agree(deployment, pair, 800)
        timeline = (await pair.client.read(f"/v1/payments/{made[0]['id']}/events"))["data"]
        assert [timeline[0]["type"], timeline[-1]["type"]] == ["lastro.payment.created.v1", "lastro.payment.settled.v1"]
        lines = (await pair.client.read(f"/v1/accounts/{pair.payee}/statement"))["data"]
        assert len(lines) == len(made)
    async with running(tmp_path, documents=database) as deployment:
        assert await deployment.platform.broker.idle(PATIENCE_SECONDS)
        documents = deployment.platform.runtime.documents
        tenant_id = pair.client.tenant_id
        holds = await documents.find(HOLDS, tenant_id, Query(limit=100))
        assert {hold["status"] for hold in holds} == {"captured"}
        assert len(holds) == len(await documents.find(PAYMENTS, tenant_id, Query(limit=100))) == len(made)
        assert not await documents.unsent("9", 10)
        await assert_books_agree(deployment, Pair(await deployment.tenant(), pair.payer, pair.payee), 800)


async def test_a_repeated_request_has_one_answer_and_one_effect(tmp_path: Path, database: str) -> None:
    """Ten requests with one idempotency key, at once and again later, make one payment."""
    async with running(tmp_path, documents=database) as deployment:
        pair = await new_pair(await deployment.tenant())
        body = pair.payment()
        answers = await asyncio.gather(*(pair.client.post("/v1/payments", body, key="once") for _ in range(10)))
        assert {answer.status for answer in answers} <= {201, 409}
        made = [answer.document["id"] for answer in answers if answer.status == 201]
        again = await pair.client.post("/v1/payments", body, key="once")
        assert {*made, again.document["id"]} == {again.document["id"]}
        await in_status(pair.client, f"/v1/payments/{again.document['id']}", "settled")
        await assert_books_agree(deployment, pair, 100)


async def test_a_database_that_was_not_migrated_stops_the_start(tmp_path: Path, mongodb_url: str) -> None:
    """A start on an empty database fails with one line that names `lastro migrate`."""
    with pytest.raises(NotOpened, match="run `lastro migrate`"):
        async with running(tmp_path, documents=new_database(mongodb_url)):
            pass
