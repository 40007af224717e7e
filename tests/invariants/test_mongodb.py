"""The invariants of money with the documents on a server of MongoDB's wire protocol: two processes, of which one is
killed, and the path of a payment over two adapters."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest

from shared.adapters.mongodb.documents import MongoDocuments
from shared.adapters.mongodb.driver import Server
from shared.ports.documents import Commit, Documents, Query
from shared.records.accounts import ACCOUNTS, HOLDS
from shared.records.catalogue import COLLECTIONS
from shared.records.payments import PAYMENTS
from tests.invariants.books import check_quiet, everything
from tests.invariants.charges import pay_charges_at_once
from tests.invariants.holding import AMOUNT, PAYEE, PAYER, TENANT, new_account
from tests.invariants.world import World
from tests.ports.mongodb_databases import dropped, emptied, migrated, new_database
from tests.processes import bound

ROOT = Path(__file__).parents[2]
PAYMENTS_COUNT = 60
AFFORDABLE = 25
SEEDS = range(3)


@pytest.fixture(scope="module")
def database(mongodb_url: str) -> Iterator[str]:
    """The URL of a database with all collections."""
    url = new_database(mongodb_url)
    migrated(url, COLLECTIONS)
    yield url
    dropped(url)


@contextmanager
def holding(url: str, seed: int) -> Iterator[subprocess.Popen[str]]:
    """A process that holds funds for every payment, until the end of the context."""
    command = [sys.executable, "-m", "tests.invariants.holding", url, str(seed), str(PAYMENTS_COUNT)]
    with subprocess.Popen(
        bound(command), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def printed(process: subprocess.Popen[str], lines: int) -> list[str]:
    """Return the next lines that a process prints, up to so many."""
    assert process.stdout is not None
    found: list[str] = []
    while len(found) < lines and (line := process.stdout.readline()):
        found.append(line.strip())
    return found


async def test_two_processes_hold_on_one_account_and_one_is_killed(database: str) -> None:
    """Two processes apply the same 60 payments to an account that can pay for 25, and one of them is killed on the way
    and started again: 25 holds are active, each payment has one hold and one event, and what a process has said is
    there."""
    server = await emptied(database, COLLECTIONS)
    documents = MongoDocuments(server, COLLECTIONS)
    new = [new_account(PAYER, AFFORDABLE * AMOUNT), new_account(PAYEE, 0)]
    await documents.commit(Commit(TENANT, inserts=[(ACCOUNTS, dict(account)) for account in new]))
    with holding(database, 1) as first, holding(database, 2) as second:
        said = printed(second, PAYMENTS_COUNT // 4)
        second.kill()
        said += printed(second, PAYMENTS_COUNT)
        with holding(database, 3) as third:
            for process in (first, third):
                assert sorted(printed(process, PAYMENTS_COUNT + 1)) == [f"pay_{n:04}" for n in range(PAYMENTS_COUNT)]
                assert process.wait() == 0
    await check_holds(documents, said)
    await server.aclose()


async def check_holds(documents: Documents, said: list[str]) -> None:
    """Check the account, its holds and their events."""
    payer = await documents.get(ACCOUNTS, TENANT, PAYER)
    holds = await documents.find(HOLDS, TENANT, Query(limit=1000))
    events = await documents.unsent("9", 1000)
    assert payer is not None
    assert payer["held"] == payer["posted"] == AFFORDABLE * AMOUNT
    assert payer["version"] == 1 + AFFORDABLE
    assert Counter(hold["status"] for hold in holds) == {"active": AFFORDABLE, "refused": PAYMENTS_COUNT - AFFORDABLE}
    assert set(said) <= {hold["payment_id"] for hold in holds}
    assert len({hold["payment_id"] for hold in holds}) == PAYMENTS_COUNT
    kinds = Counter(event.type.split(".")[-2] for event in events)
    assert kinds == {"funds_held": AFFORDABLE, "funds_refused": PAYMENTS_COUNT - AFFORDABLE}


@pytest.mark.parametrize("seed", SEEDS)
async def test_payments_over_two_adapters_have_right_books(database: str, seed: int) -> None:
    """Payments and refunds whose commands and events two adapters handle in any order, several at once and each twice,
    have one effect each, and the books are right."""
    servers = [await emptied(database, COLLECTIONS), Server(database)]
    world = await World.on_documents([MongoDocuments(server, COLLECTIONS) for server in servers], seed)
    tenant, random = await world.tenant(), Random(seed)
    payer, payee = await tenant.account(500), await tenant.account()
    payments = [await tenant.pay(payer, payee, random.randint(20, 150)) for _ in range(8)]
    await world.settle_in_any_order(random, abreast=4)
    settled = [payment for payment in payments if await tenant.status(payment) == "settled"]
    assert settled
    for payment in settled[:3]:
        await tenant.made(f"/v1/payments/{payment}/refunds", {})
    await world.settle_in_any_order(random, abreast=4)
    assert len(await everything(world, tenant.id, PAYMENTS)) == len(payments)
    await check_quiet(world, tenant)
    for server in servers:
        await server.aclose()


@pytest.mark.parametrize("seed", SEEDS)
async def test_pix_charges_over_two_adapters_have_right_books(database: str, seed: int) -> None:
    """PIX charges that two adapters create, and whose payments both report at once and twice, are credited once each;
    the money of other payments is in the suspense account."""
    servers = [await emptied(database, COLLECTIONS), Server(database)]
    world = await World.on_documents([MongoDocuments(server, COLLECTIONS) for server in servers], seed)
    await pay_charges_at_once(world, seed)
    for server in servers:
        await server.aclose()
