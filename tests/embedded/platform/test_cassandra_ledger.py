"""A platform whose ledger is on the real Cassandra; everything else is in the embedded store."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from shared.adapters.cassandra.schema import migrate
from shared.adapters.cassandra.store import CassandraStore
from shared.adapters.cassandra.url import CassandraUrl
from shared.context.ledger_verification import verify_ledger
from tests.contract.calling import Deployment, Pair, in_status, new_pair, running
from tests.waiting import PATIENCE_SECONDS

PAYMENTS = 12


@pytest.fixture(scope="session")
def ledger_url(cassandra_url: str) -> str:
    """Return the URL of a keyspace with the ledger's tables."""
    asyncio.run(migrate(CassandraUrl.parse(cassandra_url), print))
    return cassandra_url


async def pay(pair: Pair) -> None:
    """Make payments of 1.00 at the same time, and wait until all are settled."""

    async def one() -> None:
        payment = await pair.client.made("/v1/payments", pair.payment())
        await in_status(pair.client, f"/v1/payments/{payment['id']}", "settled")

    await asyncio.gather(*(one() for _ in range(PAYMENTS)))


async def assert_books_agree(deployment: Deployment, pair: Pair, paid: int) -> None:
    """What was paid is in the accounts, the statements and the ledger."""
    assert await deployment.platform.broker.idle(PATIENCE_SECONDS)
    ledger = deployment.platform.runtime.ledger
    for account, posted in ((pair.payer, -paid), (pair.payee, paid)):
        assert (await pair.client.read(f"/v1/accounts/{account}/balance"))["posted"] == posted
        lines = (await pair.client.read(f"/v1/accounts/{account}/statement?limit=100"))["data"]
        assert lines[-1]["balance_after"]["value"] == posted
        assert await ledger.balance(pair.client.tenant_id, account) == posted
    await verify_ledger(ledger, pair.client.tenant_id)


async def test_payments_settle_on_the_ledger_of_a_server(tmp_path: Path, ledger_url: str) -> None:
    """Payments at the same time pass through the ledger on Cassandra, also after a restart, and the books agree."""
    async with running(tmp_path, ledger=ledger_url) as deployment:
        assert isinstance(deployment.platform.runtime.ledger, CassandraStore)
        pair = await new_pair(await deployment.tenant())
        await pay(pair)
        await assert_books_agree(deployment, pair, 100 * PAYMENTS)
    async with running(tmp_path, ledger=ledger_url) as deployment:
        pair = Pair(await deployment.tenant(), pair.payer, pair.payee)
        await pay(pair)
        await assert_books_agree(deployment, pair, 200 * PAYMENTS)
