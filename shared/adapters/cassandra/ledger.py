"""The ledger port over the tables."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random
from typing import Final

from shared.adapters.cassandra.combining import CombiningLedger
from shared.adapters.cassandra.tables import Place
from shared.adapters.cassandra.trial_balance import turnover
from shared.ports.ledger import AccountTurnover, Entry

PAUSE_SECONDS: Final = 0.01
"""The longest wait after the first failed attempt. It doubles with each attempt, up to PAUSE_LIMIT_SECONDS."""
PAUSE_LIMIT_SECONDS: Final = 1.0


class CassandraLedger(CombiningLedger):
    """The ledger port. One instance for each process and event loop."""

    async def entries(self, tenant_id: str, account_id: str, after_sequence: int, limit: int) -> Sequence[Entry]:
        """Return the entries of an account after a sequence number, oldest first."""
        place = Place(tenant_id, account_id)
        bucket = (after_sequence + 1) // self._bucket_lines
        found: list[Entry] = []
        while len(found) < limit:
            lines = await self._tables.lines(place, bucket, after_sequence, limit - len(found))
            found += [
                Entry(
                    line.transfer_id,
                    line.leg,
                    account_id,
                    line.direction,
                    line.amount,
                    line.currency,
                    line.sequence,
                    line.balance_after,
                    line.recorded_at,
                )
                for line in lines
            ]
            if not lines or lines[-1].sequence != self._last_of(bucket):
                break
            after_sequence, bucket = lines[-1].sequence, bucket + 1
        return found

    async def balance(self, tenant_id: str, account_id: str) -> int:
        """Return credits less debits of an account, in minor units; 0 for an account without entries."""
        head = await self.current_head(Place(tenant_id, account_id))
        return 0 if head is None else head.balance

    async def turnover(self, tenant_id: str) -> Sequence[AccountTurnover]:
        """Return the turnover of every ledger account of a tenant, ordered by currency and id."""
        return await turnover(self, self._tables, tenant_id)


class Jitter:
    """Waits a random time, up to a limit that doubles with each failed attempt."""

    def __init__(self, random: Random) -> None:
        self._random = random

    async def __call__(self, attempt: int) -> None:
        """Wait after the failed attempt of this number, from 1."""
        limit = min(PAUSE_LIMIT_SECONDS, PAUSE_SECONDS * 2 ** (attempt - 1))
        await asyncio.sleep(self._random.uniform(0, limit))
