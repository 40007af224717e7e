"""Processes whose calls of the tables sometimes fail, and which may end at any call; and checks of the result."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random

from shared.adapters.cassandra.ledger import CassandraLedger
from shared.adapters.cassandra.tables import Tables
from shared.context.ledger_verification import verify_ledger
from shared.ports.documents import Unavailable
from shared.ports.ledger import Leg, Transfer
from tests.ports.ledger_suite import legs, transfer
from tests.shared.adapters.cassandra.memory_tables import ProcessTables

ACCOUNTS = ("a", "b", "merchant")


async def no_pause(attempt: int) -> None:
    """Let other tasks run, without waiting."""
    await asyncio.sleep(0)


def ledger_on(tables: Tables, *, bucket_lines: int = 10_000) -> CassandraLedger:
    """Return the ledger of one process."""
    return CassandraLedger(tables, no_pause, bucket_lines=bucket_lines)


def some_transfers(random: Random, tenant_id: str = "ten_1") -> list[Transfer]:
    """Return transfers of a tenant among three accounts, most of them with the merchant."""
    made: list[Transfer] = []
    for number in range(random.randrange(4, 16)):
        debit, credit = random.sample(ACCOUNTS, 2)
        amount = random.randrange(1, 1000)
        several = (Leg("merchant", "credit", 1, "BRL"), Leg("merchant", "debit", 1, "BRL"))
        extra = several if random.random() < 0.2 else ()
        made.append(transfer(f"t{number:02}", *legs(debit, credit, amount), *extra, tenant_id=tenant_id))
    return made


async def request_all(ledger: CassandraLedger, transfers: Sequence[Transfer], random: Random) -> None:
    """Request transfers concurrently, and repeat each of them if the store does not answer."""

    async def request(wanted: Transfer) -> None:
        for _ in range(5):
            try:
                await ledger.append(wanted, f"2026-01-0{random.randrange(1, 6)}")
            except Unavailable:
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    # If a failure and a cancellation coincide, `gather` raises the failure.
                    return
                continue
            return

    await asyncio.gather(*(request(each) for each in transfers))


async def run_process(tables: Tables, transfers: Sequence[Transfer], random: Random) -> None:
    """Request some of the transfers in a process whose calls sometimes fail, and which may end before it has
    finished."""
    ends_after = random.randrange(10, 200) if random.random() < 0.7 else None
    view = ProcessTables(tables, random, share=random.choice((0.0, 0.1, 0.3)), ends_after=ends_after)
    ledger = ledger_on(view, bucket_lines=5)
    chosen = random.sample(transfers, random.randrange(1, len(transfers) + 1))
    work = asyncio.create_task(request_all(ledger, chosen, random))
    end = asyncio.create_task(view.ended.wait())
    await asyncio.wait({work, end}, return_when=asyncio.FIRST_COMPLETED)
    for task in (work, end):
        task.cancel()
    await asyncio.gather(work, end, return_exceptions=True)
    await ledger.drained(0)
    await asyncio.gather(*view.late)


async def check_journals(ledger: CassandraLedger, transfers: Sequence[Transfer]) -> None:
    """Check that each leg has one entry, and that sequences and balances of each account are consecutive."""
    found: list[tuple[str, int]] = []
    tenant_id = transfers[0].tenant_id
    for account_id in ACCOUNTS:
        balance, latest = 0, ""
        entries = await ledger.entries(tenant_id, account_id, 0, 1000)
        for sequence, entry in enumerate(entries, start=1):
            balance += entry.amount if entry.direction == "credit" else -entry.amount
            assert (entry.sequence, entry.balance_after) == (sequence, balance)
            assert entry.recorded_at >= latest
            latest = entry.recorded_at
            found.append((entry.transfer_id, entry.leg))
        assert await ledger.balance(tenant_id, account_id) == balance
    assert sorted(found) == [(each.id, leg) for each in transfers for leg in range(len(each.legs))]
    assert (await verify_ledger(ledger, tenant_id)).entries == len(found)
