"""Credits to one merchant by two processes on a server of MongoDB's wire protocol: few transactions, few conflicts, and
one effect for each transfer. `pytest -s` shows the counts."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from shared.adapters.mongodb.documents import MongoDocuments
from shared.ports.documents import Commit, Documents, Query
from shared.records.accounts import ACCOUNTS, HOLDS
from shared.records.catalogue import COLLECTIONS
from tests.invariants.crediting import PAYERS, accounts, hold
from tests.invariants.holding import AMOUNT, PAYEE, TENANT
from tests.ports.mongodb_databases import dropped, emptied, migrated, new_database
from tests.processes import bound

ROOT = Path(__file__).parents[2]
PAYMENTS = 240


@pytest.fixture(scope="module")
def database(mongodb_url: str) -> Iterator[str]:
    """The URL of a database with all collections."""
    url = new_database(mongodb_url)
    migrated(url, COLLECTIONS)
    yield url
    dropped(url)


@pytest.fixture
async def documents(database: str) -> AsyncIterator[MongoDocuments]:
    """The documents: the merchant, its payers, and an active hold for each payment."""
    server = await emptied(database, COLLECTIONS)
    documents = MongoDocuments(server, COLLECTIONS)
    inserts: list[Any] = [(ACCOUNTS, account) for account in accounts(PAYMENTS)]
    inserts += [(HOLDS, cast("Any", hold(number))) for number in range(PAYMENTS)]
    try:
        await documents.commit(Commit(TENANT, inserts=inserts))
        yield documents
    finally:
        await server.aclose()


@contextmanager
def crediting(url: str, first: int, behind: int, seed: int) -> Iterator[subprocess.Popen[str]]:
    """A process that applies the transfers of these payments, until the end of the context."""
    command = [sys.executable, "-m", "tests.invariants.crediting", url, str(first), str(behind), str(seed)]
    with subprocess.Popen(
        bound(command), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def finished(process: subprocess.Popen[str]) -> tuple[set[str], dict[str, int]]:
    """Return the payments that a process has printed, and its counts."""
    *payments, counts = process.communicate()[0].splitlines()
    assert process.returncode == 0
    return set(payments), json.loads(counts)


async def check_books(documents: Documents) -> None:
    """Check that each transfer was applied once: the balances, versions and holds, and one event for each leg."""
    found = {account["id"]: account for account in await documents.find(ACCOUNTS, TENANT, Query(limit=1000))}
    merchant = found.pop(PAYEE)
    assert (merchant["posted"], merchant["held"], merchant["version"]) == (PAYMENTS * AMOUNT, 0, 1 + PAYMENTS)
    assert len(found) == PAYERS
    for payer in found.values():
        assert (payer["posted"], payer["held"], payer["version"]) == (0, 0, 1 + PAYMENTS // PAYERS)
    holds = await documents.find(HOLDS, TENANT, Query(limit=1000))
    assert Counter((hold["status"], hold["version"]) for hold in holds) == {("captured", 2): PAYMENTS}
    events = await documents.unsent("9", 3 * PAYMENTS)
    changed = Counter(event.subject for event in events)
    assert changed.pop(PAYEE) == PAYMENTS
    assert set(changed.values()) == {PAYMENTS // PAYERS}


async def test_concurrent_credits_of_two_processes_are_few_transactions(
    database: str, documents: MongoDocuments
) -> None:
    """Two processes credit one merchant 120 times each, 32 at a time: at most half as many transactions are committed,
    and fewer than half as many end in a conflict; each transfer has one effect."""
    half = PAYMENTS // 2
    with crediting(database, 0, half, 1) as first, crediting(database, half, PAYMENTS, 2) as second:
        counts = Counter[str]()
        for process in (first, second):
            counts.update(finished(process)[1])
    print(f"\n{PAYMENTS} credits: {dict(counts)}")
    await check_books(documents)
    assert counts["committed"] <= PAYMENTS // 2
    assert counts["conflicts"] < PAYMENTS // 2


async def test_credits_that_are_delivered_twice_have_one_effect_when_a_process_is_killed(
    database: str, documents: MongoDocuments
) -> None:
    """Two processes apply overlapping sets of transfers; one is killed on the way and started again with all of them.
    No credit is lost and none is made twice, and what the killed process has said is there."""
    said: set[str] = set()
    with ExitStack() as stack:
        first = stack.enter_context(crediting(database, 0, PAYMENTS * 2 // 3, 1))
        second = stack.enter_context(crediting(database, PAYMENTS // 3, PAYMENTS, 2))
        assert second.stdout is not None
        while len(said) < PAYMENTS // 8:
            said.add(second.stdout.readline().strip())
        second.kill()
        said.update(line.strip() for line in second.stdout)
        third = stack.enter_context(crediting(database, 0, PAYMENTS, 3))
        for process, count in ((first, PAYMENTS * 2 // 3), (third, PAYMENTS)):
            assert len(finished(process)[0]) == count
    await check_books(documents)
    assert said <= {f"pay_{number:04}" for number in range(PAYMENTS // 3, PAYMENTS)}
