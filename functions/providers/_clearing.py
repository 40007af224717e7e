"""The two sides of a reconciliation: the entries of a clearing account, and the payments that a provider reported."""

from __future__ import annotations

import asyncio

from functions.providers._pairing import Movement
from shared.context.context import Context
from shared.context.ledger_periods import entries_between
from shared.core.problems import Problem
from shared.ports.documents import Query
from shared.ports.ledger import Entry
from shared.records.charges import RECEIPTS
from shared.records.deposits import DEPOSITS


async def ledger_movements(ctx: Context, account_id: str, since: str, until: str, limit: int) -> list[Movement]:
    """Return the entries of a clearing account in a period, with the end-to-end ids of their deposits.

    Raises Problem `validation_failed` when there are more than `limit`.
    """
    movements: list[Movement] = []
    async for page in entries_between(ctx.ledger, ctx.tenant_id, account_id, since, until):
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
