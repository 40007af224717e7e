"""The two sides of a reconciliation: the entries of a clearing account, and the payments that a provider reported."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Final

from functions.providers._pairing import Movement
from shared.context.context import Context
from shared.core.problems import Problem
from shared.ports.documents import Query
from shared.ports.ledger import Entry
from shared.records.charges import RECEIPTS
from shared.records.deposits import DEPOSITS

_PAGE: Final = 100


async def ledger_movements(ctx: Context, account_id: str, since: str, until: str, limit: int) -> list[Movement]:
    """Return the entries of a clearing account in a period, with the end-to-end ids of their deposits.

    Raises Problem `validation_failed` when there are more than `limit`.
    """
    movements: list[Movement] = []
    async for page in _entries(ctx, account_id, since, until):
        movements += await asyncio.gather(*(_movement(ctx, entry) for entry in page))
        _require_few(len(movements), limit)
    return movements


async def reported_movements(ctx: Context, provider: str, since: str, until: str, limit: int) -> list[Movement]:
    """Return the payments that a provider reported in a period.

    Raises Problem `validation_failed` when there are more than `limit`.
    """
    query = Query({"provider": provider}, ranges={"received_at": (since, until)}, limit=limit + 1)
    found = await ctx.find(RECEIPTS, query)
    _require_few(len(found), limit)
    # The id of a receipt is the provider's name, a colon, and the provider's id of the payment.
    return [
        Movement(receipt["id"], receipt["amount"], receipt["received_at"], receipt["id"].partition(":")[2])
        for receipt in found
    ]


def _require_few(count: int, limit: int) -> None:
    if count > limit:
        detail = f"The period has more than {limit} movements. Choose a shorter one."
        raise Problem.at("validation_failed", "/to", detail)


async def _movement(ctx: Context, entry: Entry) -> Movement:
    transfer = await ctx.ledger.transfer(ctx.tenant_id, entry.transfer_id)
    reference = None
    if transfer is not None and transfer.cause.type == "deposit":
        deposit = await ctx.get(DEPOSITS, transfer.cause.id)
        reference = deposit["end_to_end_id"] if deposit is not None else None
    amount = entry.amount if entry.direction == "debit" else -entry.amount
    return Movement(f"{entry.transfer_id}.{entry.leg}", amount, entry.recorded_at, reference)


async def _entries(ctx: Context, account_id: str, since: str, until: str) -> AsyncIterator[Sequence[Entry]]:
    """Yield an account's entries of a period in pages. Their times never decrease, so the first is found by
    bisection."""
    before = await _count_before(ctx, account_id, since)
    while True:
        page = await ctx.ledger.entries(ctx.tenant_id, account_id, before, _PAGE)
        inside = [entry for entry in page if entry.recorded_at < until]
        if inside:
            yield inside
        if len(inside) < _PAGE:
            return
        before = inside[-1].sequence


async def _count_before(ctx: Context, account_id: str, since: str) -> int:
    """Return the number of an account's entries that are older than a time."""

    async def is_older(sequence: int) -> bool:
        found = await ctx.ledger.entries(ctx.tenant_id, account_id, sequence - 1, 1)
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
