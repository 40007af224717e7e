"""The trial balance of a tenant while its transfers are being recorded.

The heads of the journals are read one after the other, so some legs of a transfer may be included and others not. Such
transfers are found among the newest ones, completed if their recording was interrupted, and excluded from the sums. The
rest are complete transfers, so debits equal credits.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import date, timedelta
from typing import Final

from shared.adapters.cassandra.protocol import LedgerProtocol
from shared.adapters.cassandra.tables import Head, Place, Tables
from shared.ports.ledger import AccountTurnover, RecordedTransfer

_AT_ONCE: Final = 32
"""The number of heads that are read concurrently."""
_PAGE: Final = 100
_MOST_TRANSFERS: Final = 10_000
_DAYS: Final = 31


class _Cut:
    """The sums of all accounts up to the heads that were read."""

    def __init__(self, heads: dict[str, Head]) -> None:
        self._heads = heads
        self._sums = {id: {"debit": head.debits, "credit": head.credits} for id, head in heads.items()}

    @property
    def newest_day(self) -> str:
        return max(head.recorded_at for head in self._heads.values())[:10]

    def is_balanced(self) -> bool:
        differences: dict[str, int] = {}
        for id, sums in self._sums.items():
            currency = self._heads[id].currency
            differences[currency] = differences.get(currency, 0) + sums["debit"] - sums["credit"]
        return not any(differences.values())

    def leave_out_if_split(self, transfer: RecordedTransfer) -> None:
        """Subtract the legs that are in the sums, if another leg of the transfer is not."""
        entries = transfer.entries
        inside = [
            e for e in entries if e.account_id in self._heads and e.sequence <= self._heads[e.account_id].sequence
        ]
        if len(inside) < len(entries):
            for entry in inside:
                self._sums[entry.account_id][entry.direction] -= entry.amount

    def lines(self) -> list[AccountTurnover]:
        lines = [
            AccountTurnover(id, self._heads[id].currency, sums["debit"], sums["credit"])
            for id, sums in self._sums.items()
            if any(sums.values())
        ]
        return sorted(lines, key=lambda line: (line.currency, line.account_id))


async def turnover(ledger: LedgerProtocol, tables: Tables, tenant_id: str) -> list[AccountTurnover]:
    """Return the turnover of every account that has a line, ordered by currency and id.

    The sums differ only when the ledger is out of balance. At most 10,000 of the newest transfers of 31 days are
    examined.
    """
    heads = await _heads(ledger, tables, tenant_id)
    cut = _Cut(heads)
    if not cut.is_balanced():
        async for id in _newest_ids(tables, tenant_id, cut.newest_day):
            # This completes the transfer if a process ended while it recorded it.
            transfer = await ledger.transfer(tenant_id, id)
            if transfer is not None:
                cut.leave_out_if_split(transfer)
                if cut.is_balanced():
                    break
    return cut.lines()


async def _heads(ledger: LedgerProtocol, tables: Tables, tenant_id: str) -> dict[str, Head]:
    limit = asyncio.Semaphore(_AT_ONCE)

    async def head(place: Place, hint: int) -> Head | None:
        async with limit:
            return await ledger.current_head(place, hint)

    heads = await asyncio.gather(*(head(*account) for account in await tables.accounts(tenant_id)))
    return {head.place.account_id: head for head in heads if head is not None and head.sequence}


async def _newest_ids(tables: Tables, tenant_id: str, newest_day: str) -> AsyncIterator[str]:
    """Yield the ids of the newest transfers, each once."""
    seen: set[str] = set()
    for back in range(_DAYS):
        day = (date.fromisoformat(newest_day) - timedelta(days=back)).isoformat()
        before: tuple[str, str] | None = None
        while page := await tables.newest_of_day(tenant_id, day, before, _PAGE):
            for _, id in page:
                if id not in seen:
                    seen.add(id)
                    yield id
            if len(seen) >= _MOST_TRANSFERS:
                return
            before = page[-1]
