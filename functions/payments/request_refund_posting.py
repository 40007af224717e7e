"""lastro.account.funds_held.v1 of a refund: the payee's funds are held."""

from __future__ import annotations

from events.holds import FundsHeld
from functions.payments._payee import payee_failure
from functions.payments._refund import end_as_failed, request_refund
from functions.payments._states import refund_is_final
from shared.context import saga
from shared.context.context import Context
from shared.functions.decorators import event_function
from shared.records.payments import REFUNDS


@event_function(FundsHeld)
async def request_refund_posting(event: FundsHeld, ctx: Context) -> None:
    """Request the transfer of the refund from the ledger. A repeated fact requests it again, under the same id.

    The refund fails when the account that it goes to has begun to close. A refund that has ended stays as it is. On the
    fact of its end accounts releases the hold.
    """
    if event.cause_type != "refund":
        return
    refund = await ctx.referenced(REFUNDS, event.cause_id, "/cause_id")
    if refund_is_final(refund):
        return
    attempt = refund["attempt"]
    if refund["status"] == "created":
        # Only before the first request: the outcome of a transfer that was requested is the ledger's.
        failure = await payee_failure(ctx, refund["payee_account_id"])
        if failure is not None:
            await end_as_failed(ctx, refund, failure)
            return
        attempt = 1
    # Not in the payment's timeline: the payment does not change, so refunds of one payment do not conflict here.
    request_refund(ctx, refund, attempt)
    due_at = await saga.begin(ctx, "refund", refund["id"], attempt)
    ctx.update(REFUNDS, refund, status="processing", attempt=attempt, due_at=due_at, updated_at=ctx.now_text)
