"""The two sides of a reconciliation: the entries of a clearing account, and the payments that a provider reported."""

from __future__ import annotations

import asyncio
from typing import Final

from functions.providers._card_settlements import settled_movements
from functions.providers._pairing import Movement
from shared.context.context import Context
from shared.context.ledger_periods import entries_between
from shared.core.problems import Problem
from shared.ports.documents import Query
from shared.ports.ledger import Cause, Entry
from shared.records.charges import RECEIPTS
from shared.records.deposits import DEPOSITS
from shared.records.payments import return_purpose
from shared.records.rail_payments import RAIL_PAYMENTS, RAIL_RETURNS, reference_id
from shared.records.returns import RETURNS
from shared.records.settlement_files import SETTLEMENT_FILES

RETURN_PROVIDER: Final = "pix"
"""The provider whose returns are recorded."""


async def ledger_movements(ctx: Context, account_id: str, since: str, until: str, limit: int) -> list[Movement]:
    """Return the entries of a clearing account in a period, with the end-to-end ids of their deposits and the ids
    of their returns.

    Raises Problem `validation_failed` when there are more than `limit`.
    """
    movements: list[Movement] = []
    async for page in entries_between(ctx.ledger, ctx.tenant_id, account_id, since, until):
        movements += await asyncio.gather(*(_movement(ctx, entry) for entry in page))
        _require_few(len(movements), limit)
    return movements


async def reported_movements(ctx: Context, provider: str, since: str, until: str, limit: int) -> list[Movement]:
    """Return the payments and returns that a provider reported in a period; of the card gateway, its settlement report.

    Raises Problem `validation_failed` when there are more than `limit`, and `dependency_unavailable` when the gateway
    does not answer.
    """
    if provider == "card":
        settled: list[Movement] = []
        async for movement in settled_movements(ctx, since, until):
            settled.append(movement)
            _require_few(len(settled), limit)
        return settled
    query = Query({"provider": provider}, ranges={"received_at": (since, until)}, limit=limit + 1)
    found = await ctx.find(RECEIPTS, query)
    _require_few(len(found), limit)
    # The id of a receipt is the provider's name, a colon, and the provider's id of the payment.
    movements = [
        Movement(receipt["id"], receipt["amount"], receipt["received_at"], receipt["id"].partition(":")[2])
        for receipt in found
    ]
    if provider == RETURN_PROVIDER:
        movements += await _returned(ctx, since, until, limit)
    movements += await _paid(ctx, provider, since, until, limit)
    movements += await _came_back(ctx, provider, since, until, limit)
    movements += await _unknown_lines(ctx, provider, since, until, limit)
    _require_few(len(movements), limit)
    return movements


async def _returned(ctx: Context, since: str, until: str, limit: int) -> list[Movement]:
    """Return the returns that the provider reported to have made in a period."""
    found = await ctx.find(RETURNS, Query(ranges={"confirmed_at": (since, until)}, limit=limit + 1))
    return [
        Movement(
            f"{RETURN_PROVIDER}:{one['rail_id'] or one['id']}", -one["amount"], one["confirmed_at"] or "", one["id"]
        )
        for one in found
    ]


async def _paid(ctx: Context, provider: str, since: str, until: str, limit: int) -> list[Movement]:
    """Return the payments that a provider has made for us, as it reported them in a period: negative amounts.

    A payment of the tenant's own charge is received, too, under the same id at the provider.
    """
    query = Query({"rail": provider}, ranges={"reported_at": (since, until)}, limit=limit + 1)
    return [
        Movement(f"{reference_id(provider, paid['reference'])}:sent", -moved, reported_at, paid["reference"])
        for paid in await ctx.find(RAIL_PAYMENTS, query)
        if (moved := paid["amount_moved"]) is not None and (reported_at := paid["reported_at"]) is not None
    ]


async def _came_back(ctx: Context, provider: str, since: str, until: str, limit: int) -> list[Movement]:
    """Return what the provider reported in a period to have come back of payments."""
    query = Query({"rail": provider}, ranges={"returned_at": (since, until)}, limit=limit + 1)
    parts = Query({"rail": provider}, ranges={"reported_at": (since, until)}, limit=limit + 1)
    # The ledger has the money as a refund, whose id derives from the payment.
    return [
        Movement(
            f"{reference_id(provider, paid['reference'])}:return",
            amount,
            returned_at,
            ctx.derived_id("rfd", paid["id"], return_purpose(None)),
        )
        for paid in await ctx.find(RAIL_PAYMENTS, query)
        if (amount := paid["amount_returned"]) is not None and (returned_at := paid["returned_at"]) is not None
    ] + [
        Movement(one["id"], one["amount"], one["reported_at"], one["refund_id"])
        for one in await ctx.find(RAIL_RETURNS, parts)
    ]


async def _unknown_lines(ctx: Context, provider: str, since: str, until: str, limit: int) -> list[Movement]:
    """Return the lines of the settlement files of a period that moved money and are no payment of the tenant."""
    query = Query({"provider": provider}, ranges={"applied_at": (since, until)}, limit=limit + 1)
    return [
        Movement(
            f"{provider}:{file['id']}:{line['line']}",
            line["moved"] if line["outcome"] == "returned" else -line["moved"],
            file["applied_at"] or "",
            line["reference"],
        )
        for file in await ctx.find(SETTLEMENT_FILES, query)
        for line in file["lines"]
        if line["result"] == "unmatched" and line["outcome"] in ("settled", "returned")
    ]


def _require_few(count: int, limit: int) -> None:
    if count > limit:
        detail = f"The period has more than {limit} movements. Choose a shorter one."
        raise Problem.at("validation_failed", "/to", detail)


async def _movement(ctx: Context, entry: Entry) -> Movement:
    transfer = await ctx.ledger.transfer(ctx.tenant_id, entry.transfer_id)
    reference = None
    if transfer is not None:
        reference = await _reference(ctx, transfer.cause)
    amount = entry.amount if entry.direction == "debit" else -entry.amount
    return Movement(f"{entry.transfer_id}.{entry.leg}", amount, entry.recorded_at, reference)


async def _reference(ctx: Context, cause: Cause) -> str | None:
    """Return the provider's id of the payment that a transfer records, or None without one."""
    if cause.type == "deposit":
        deposit = await ctx.get(DEPOSITS, cause.id)
        return None if deposit is None else deposit["end_to_end_id"]
    if cause.type == "payment":
        payment = await ctx.get(RAIL_PAYMENTS, cause.id)
        return None if payment is None else payment["reference"]
    # Our id of a refund is its reference at the card gateway, and that of a return its reference at the PIX provider.
    return cause.id
