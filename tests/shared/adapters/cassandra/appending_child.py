"""A process that records transfers between two accounts on a Cassandra ledger, and prints each that is recorded."""

from __future__ import annotations

import asyncio
import sys

from shared.adapters.cassandra.store import CassandraStore
from shared.ports.documents import Unavailable
from tests.ports.ledger_suite import legs, transfer

AT_ONCE = 8


async def main(url: str, tenant_id: str, name: str, count: int) -> None:
    """Record the transfers `name`0000 and so on, some of them at the same time."""
    async with CassandraStore(url) as ledger:
        numbers = iter(range(count))

        async def work() -> None:
            for number in numbers:
                debit, credit = ("a", "b") if number % 3 else ("b", "a")
                wanted = transfer(f"{name}{number:04}", *legs(debit, credit, number + 1), tenant_id=tenant_id)
                while True:
                    try:
                        await ledger.append(wanted, "2026-01-01")
                        break
                    except Unavailable:  # the outcome is unknown: as an event that is delivered again
                        continue
                print(wanted.id, flush=True)

        await asyncio.gather(*(work() for _ in range(AT_ONCE)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
