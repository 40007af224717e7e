"""Two processes that write to the same accounts of the real Cassandra, one of them killed in between."""

from __future__ import annotations

from uuid import uuid4

from shared.adapters.cassandra.store import CassandraStore
from shared.context.ledger_verification import Verified, verify_ledger
from tests.ports.ledger_suite import legs, recorded, transfer
from tests.shared.adapters.cassandra.appending import COUNT, KILLED_AFTER, appending, printed


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
