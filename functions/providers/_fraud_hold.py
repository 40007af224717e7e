"""The outcome of the hold of a return because of a fraud, noted in the return, in its report and in its deposit."""

from __future__ import annotations

from shared.context import saga
from shared.context.context import Context
from shared.ports.documents import Query
from shared.records.deposits import DEPOSITS
from shared.records.fraud_reports import FRAUD_REPORTS
from shared.records.returns import RETURNS, ReturnDocument


async def note_hold(ctx: Context, document: ReturnDocument, held: int) -> None:
    """Note how much is held, in minor units, more than zero. The return waits for the decision on its report."""
    deposit = await ctx.get(DEPOSITS, document["deposit_id"])
    assert deposit is not None, "a return was made of a deposit"
    left = deposit.get("amount_returning", 0) - document["amount"] + held
    ctx.update(DEPOSITS, deposit, amount_returning=left)
    ctx.update(RETURNS, document, status="held", amount=held, due_at=None, updated_at=ctx.now_text)
    await saga.end(ctx, "return", document["id"])
    await note_amount(ctx, document, held)


async def note_amount(ctx: Context, document: ReturnDocument, held: int) -> None:
    """Note in the report how much is held for it, in minor units."""
    for report in await ctx.find(FRAUD_REPORTS, Query({"return_id": document["id"]}, limit=1)):
        ctx.update(FRAUD_REPORTS, report, amount_held=held, updated_at=ctx.now_text)
