"""The entries of a ledger account in a period."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Final

from shared.ports.ledger import Entry, LedgerStore

_PAGE: Final = 100


async def entries_between(
    ledger: LedgerStore, tenant_id: str, account_id: str, since: str, until: str
) -> AsyncIterator[Sequence[Entry]]:
    """Yield an account's entries from `since` (inclusive) to `until` (exclusive) in pages, oldest first.

    The times of an account's entries never decrease, so the first one is found by bisection. Raises Unavailable.
    """
    before = await _count_before(ledger, tenant_id, account_id, since)
    while True:
        page = await ledger.entries(tenant_id, account_id, before, _PAGE)
        inside = [entry for entry in page if entry.recorded_at < until]
        if inside:
            yield inside
        if len(inside) < _PAGE:
            return
        before = inside[-1].sequence


async def _count_before(ledger: LedgerStore, tenant_id: str, account_id: str, since: str) -> int:
    """Return the number of an account's entries that are older than a time."""

    async def is_older(sequence: int) -> bool:
        found = await ledger.entries(tenant_id, account_id, sequence - 1, 1)
        return bool(found) and found[0].recorded_at < since

    older, limit = 0, 1
    while await is_older(limit):
        older, limit = limit, 2 * limit
    while limit - older > 1:
        middle = (older + limit) // 2
        if await is_older(middle):
            older = middle
        else:
            limit = middle
    return older
