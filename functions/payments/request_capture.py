"""lastro.saga.overdue.v1: a step of a payment or refund has exceeded its deadline."""

from __future__ import annotations

from events.payments.expired import PaymentExpired
from events.sweeps import SagaOverdue
from functions.payments._capture import capture_fact
from functions.payments._creation import created_fact
from functions.payments._payment import parties, transition, update_payment
from functions.payments._rail import drive_rail_payment
from functions.payments._refund import refund_created_fact, request_refund
from shared.context import saga
from shared.context.context import Context
from shared.functions.decorators import event_function
from shared.records.failure import failure_document
from shared.records.payments import PAYMENTS, REFUNDS, PaymentDocument, RefundDocument


@event_function(SagaOverdue)
async def request_capture(event: SagaOverdue, ctx: Context) -> None:
    """Request again what an overdue payment or refund waits for, or expire a payment whose hold never came.

    A payment without a hold expires after the last attempt: no transfer can exist yet. A transfer is requested again
    for as long as the ledger has not answered: an unknown outcome is never treated as a failure, and after the
    transfer's deadline the ledger itself refuses a transfer that it has not recorded. On the same fact the providers
    domain asks the provider of a payment over a rail for it.
    """
    if event.saga_type == "payment":
        payment = await ctx.referenced(PAYMENTS, event.saga_id, "/saga_id")
        if (payment["status"], payment["attempt"]) == (event.step, event.attempt):
            await _drive_payment(ctx, payment)
    elif event.saga_type == "refund":
        refund = await ctx.referenced(REFUNDS, event.saga_id, "/saga_id")
        if (refund["status"], refund["attempt"]) == (event.step, event.attempt):
            await _drive_refund(ctx, refund)


async def _drive_payment(ctx: Context, payment: PaymentDocument) -> None:
    attempt = payment["attempt"] + 1
    if payment["status"] == "created" and saga.attempts_used_up(ctx, attempt):
        failure = failure_document("hold_timed_out", "The payer's account did not answer in time.")
        await transition(ctx, payment, "expired", PaymentExpired(**parties(payment)), failure=failure)
        return
    amount, deadline = payment["capture_amount"], payment["ledger_deadline"]
    if payment["method"] != "internal" and payment["status"] != "created":
        await drive_rail_payment(ctx, payment, attempt)
    elif payment["status"] == "created":
        due_at = await saga.begin(ctx, "payment", payment["id"], attempt)
        update_payment(ctx, payment, created_fact(payment, attempt), attempt=attempt, due_at=due_at)
    elif payment["status"] == "capturing" and amount is not None and deadline is not None:
        due_at = await saga.begin(ctx, "payment", payment["id"], attempt)
        update_payment(ctx, payment, capture_fact(payment, amount, deadline, attempt), attempt=attempt, due_at=due_at)


async def _drive_refund(ctx: Context, refund: RefundDocument) -> None:
    attempt = refund["attempt"] + 1
    if refund["status"] == "created":
        payment = await ctx.referenced(PAYMENTS, refund["payment_id"], "/payment_id")
        update_payment(ctx, payment, refund_created_fact(refund, attempt))
    else:
        request_refund(ctx, refund, attempt)
    due_at = await saga.begin(ctx, "refund", refund["id"], attempt)
    ctx.update(REFUNDS, refund, attempt=attempt, due_at=due_at, updated_at=ctx.now_text)
