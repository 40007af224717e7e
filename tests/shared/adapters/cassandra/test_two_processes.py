"""Two processes that write to the same accounts of the real Cassandra, one of them killed in between."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from shared.adapters.cassandra.store import CassandraStore
from shared.context.ledger_verification import Verified, verify_ledger
from tests.ports.ledger_suite import legs, recorded, transfer
from tests.processes import bound

ROOT = Path(__file__).parents[4]
COUNT = 120
KILLED_AFTER = 40


@contextmanager
def appending(url: str, tenant_id: str, name: str) -> Iterator[subprocess.Popen[str]]:
    """Start a process that records COUNT transfers, and kill it at the end."""
    command = [sys.executable, str(ROOT / "tests/shared/adapters/cassandra/appending_child.py")]
    with subprocess.Popen(
        bound([*command, url, tenant_id, name, str(COUNT)]),
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def printed(process: subprocess.Popen[str], most: int = COUNT) -> list[str]:
    """Return the ids that a process prints until its end, or until there are so many."""
    assert process.stdout is not None
    ids: list[str] = []
    for line in process.stdout:
        ids.append(line.strip())
        if len(ids) == most:
            break
    return ids


async def test_a_killed_process_loses_and_repeats_nothing(ledger_url: str, cassandra_ledger: CassandraStore) -> None:
    """Two processes record transfers of the same two accounts, and one is killed with -9 in between.

    What either has reported is recorded. After the rest is requested again, each leg has one entry, sequences have no
    gap, each balance is the sum so far, and debits equal credits.
    """
    tenant_id = f"{uuid4()}"
    with appending(ledger_url, tenant_id, "x") as first, appending(ledger_url, tenant_id, "y") as second:
        reported = printed(first, KILLED_AFTER)
        first.kill()
        reported += printed(second)
        assert second.wait() == 0
    assert len(reported) == KILLED_AFTER + COUNT
    for id in reported:
        assert await cassandra_ledger.transfer(tenant_id, id) is not None
    assert await differences(cassandra_ledger, tenant_id) == 0
    for name in "xy":
        for number in range(COUNT):
            debit, credit = ("a", "b") if number % 3 else ("b", "a")
            wanted = transfer(f"{name}{number:04}", *legs(debit, credit, number + 1), tenant_id=tenant_id)
            await recorded(cassandra_ledger, wanted)
    assert await differences(cassandra_ledger, tenant_id) == 0
    expected = sorted(f"{name}{number:04}" for name in "xy" for number in range(COUNT))
    for account_id in "ab":
        entries = await cassandra_ledger.entries(tenant_id, account_id, 0, 1000)
        assert sorted(entry.transfer_id for entry in entries) == expected
    # Numbers, balances, the legs of each transfer, debits and credits.
    assert await verify_ledger(cassandra_ledger, tenant_id) == Verified(accounts=2, entries=4 * COUNT)


async def differences(ledger: CassandraStore, tenant_id: str) -> int:
    """Return debits less credits of the trial balance."""
    return sum(line.debits - line.credits for line in await ledger.turnover(tenant_id))
