"""lastro.account.funds_held.v1 of a refund: the payee's funds are held."""

from __future__ import annotations

from events.holds import FundsHeld
from functions.payments._refund import posting_requested_fact
from functions.payments._states import refund_is_final
from shared.context import saga
from shared.context.context import Context
from shared.functions.decorators import event_function
from shared.records.payments import REFUNDS


@event_function(FundsHeld)
async def request_refund_posting(event: FundsHeld, ctx: Context) -> None:
    """Request the transfer of the refund from the ledger. A repeated fact requests it again, under the same id.

    A refund that has ended stays as it is: the fact of its end makes accounts release the hold.
    """
    if event.cause_type != "refund":
        return
    refund = await ctx.referenced(REFUNDS, event.cause_id, "/cause_id")
    if refund_is_final(refund):
        return
    attempt = 1 if refund["status"] == "created" else refund["attempt"]
    # Not in the payment's timeline: the payment does not change, so refunds of one payment do not conflict here.
    ctx.emit(posting_requested_fact(refund, attempt))
    due_at = await saga.begin(ctx, "refund", refund["id"], attempt)
    ctx.update(REFUNDS, refund, status="processing", attempt=attempt, due_at=due_at, updated_at=ctx.now_text)
