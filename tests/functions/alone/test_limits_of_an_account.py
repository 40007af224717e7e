"""The limits of an account, while two processes hold its funds at the same time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Final

import pytest

from events.payments.created import PaymentCreated
from functions.accounts._usage import periods_of
from shared.adapters.mongodb.documents import MongoDocuments
from shared.adapters.mongodb.driver import Server
from shared.core.clock import parse_time
from shared.core.envelope import Envelope
from shared.core.money import money
from shared.ports.documents import Query
from shared.records.accounts import ACCOUNTS, HOLDS, USAGES
from shared.records.catalogue import COLLECTIONS
from tests.contract.calling import Pair, new_account, running
from tests.functions.alone.processes import Function, functions
from tests.servers.stores import Urls, stores

HOLD_FUNDS: Final = "accounts/hold_funds"
PAYMENTS: Final = 30
AMOUNT: Final = 10
PER_DAY: Final = 105
RETRIED: Final = (409, 429, 503)


@pytest.fixture
def urls(mongodb_url: str, cassandra_url: str, redis_url: str, kafka_url: str) -> Iterator[Urls]:
    """A database, a keyspace, names in Redis, and topics for this test."""
    with stores(mongodb_url, cassandra_url, redis_url, kafka_url) as urls:
        yield urls


def payment_created(pair: Pair, number: int) -> Envelope:
    """Return the event of a payment between two accounts."""
    fact = PaymentCreated(
        payment_id=f"pay_{number:04}",
        amount=money(AMOUNT, "BRL"),
        payer_account_id=pair.payer,
        payee_account_id=pair.payee,
        method="internal",
        capture="automatic",
        expires_at="2099-01-01T00:00:00.000000Z",
    )
    tenant_id = pair.client.tenant_id
    extensions = {"tenantid": tenant_id, "partitionkey": f"{tenant_id}/{fact.payment_id}"}
    now = "2026-01-01T00:00:00.000000Z"
    return Envelope(f"evt_{number:04}", "/tests/alone", fact.type, fact.payment_id, now, extensions, event=fact)


async def held(function: Function, event: Envelope, first: int) -> None:
    """Deliver an event to the processes in turn, until one of them has applied it."""
    headers, body = event.to_binary()
    status = 0
    while status != 204:
        _, alone = function.processes[first % len(function.processes)]
        status = (await asyncio.to_thread(alone.send, "POST", "/", headers, body)).status
        assert status in {204, *RETRIED}
        first += 1


async def test_two_processes_do_not_exceed_a_limit_together(urls: Urls, tmp_path: Path) -> None:
    """Two processes hold funds for thirty payments at once: what they hold together is the most that the limit of the
    day allows, it is counted once, and all other payments are refused for the limit."""
    settings = {f"LASTRO_{name.upper()}": url for name, url in urls._asdict().items()}
    async with running(tmp_path / "data", **urls._asdict()) as deployment:
        client = await deployment.tenant()
        limits = {"per_payment": None, "per_day": PER_DAY, "per_night": None}
        pair = Pair(client, await new_account(client, limits=limits), await new_account(client))
    events = [payment_created(pair, number) for number in range(PAYMENTS)]
    with functions((HOLD_FUNDS,), tmp_path / "data", settings) as started:
        function = started[HOLD_FUNDS]
        await asyncio.gather(*(held(function, event, number) for number, event in enumerate(events)))
    async with aclosing(Server(urls.documents)) as server:
        documents = MongoDocuments(server, COLLECTIONS)
        holds = await documents.find(HOLDS, client.tenant_id, Query(limit=100))
        account = await documents.get(ACCOUNTS, client.tenant_id, pair.payer)
        usage = await documents.get(USAGES, client.tenant_id, pair.payer)
    assert account is not None
    assert usage is not None
    causes = Counter(hold["failure"]["code"] if hold["failure"] else hold["status"] for hold in holds)
    assert causes.keys() == {"active", "limit_exceeded"}
    assert causes.total() == PAYMENTS
    assert account["held"] == causes["active"] * AMOUNT
    # It is more than one day if midnight in São Paulo passes meanwhile.
    held_by_day = Counter(periods_of(parse_time(hold["created_at"])).day for hold in holds if not hold["failure"])
    assert max(held_by_day.values()) == PER_DAY // AMOUNT
    assert usage["day_used"] == held_by_day[usage["day"]] * AMOUNT
