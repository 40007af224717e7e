"""The facts about a refund, and its end."""

from __future__ import annotations

from typing import Any, Unpack

from events.failure import Failure
from events.refunds import RefundCreated, RefundEvent, RefundFailed, RefundPostingRequested
from functions.payments._payment import update_payment
from functions.payments._states import refund_may_change_to
from functions.payments._timeline import VIA_RAIL
from shared.context import saga
from shared.context.context import Context
from shared.core.money import money
from shared.core.problems import Problem
from shared.records.failure import failure_document
from shared.records.payments import PAYMENTS, REFUNDS, PaymentChanges, RefundChanges, RefundDocument, RefundStatus
from shared.records.system_accounts import is_system_account


def refund_parties(refund: RefundDocument) -> dict[str, Any]:
    """Return the fields that every fact about a refund has (events.refunds.RefundEvent)."""
    return {
        "refund_id": refund["id"],
        "payment_id": refund["payment_id"],
        "amount": money(refund["amount"], refund["currency"]),
        "payer_account_id": refund["payer_account_id"],
        "payee_account_id": refund["payee_account_id"],
    }


def refund_created_fact(refund: RefundDocument, attempt: int) -> RefundCreated:
    """Return the fact that requests the hold from accounts. Each attempt publishes it again."""
    return RefundCreated(
        **refund_parties(refund),
        transfer_id=refund["transfer_id"],
        deadline=refund["ledger_deadline"],
        attempt=attempt,
    )


def posting_requested_fact(refund: RefundDocument, attempt: int) -> RefundPostingRequested:
    """Return the fact that requests the refund's transfer from the ledger.

    Each attempt publishes it again, with the same transfer id and deadline.
    """
    excess = refund.get("excess", 0)
    return RefundPostingRequested(
        **refund_parties(refund),
        transfer_id=refund["transfer_id"],
        deadline=refund["ledger_deadline"],
        attempt=attempt,
        excess=money(excess, refund["currency"]) if excess else None,
    )


def request_refund(ctx: Context, refund: RefundDocument, attempt: int) -> None:
    """Request the refund's transfer from the ledger, or its order at the provider of the payment's rail.

    The money of a payment that came back is here already: its refund goes from a clearing account, and is the ledger's.
    """
    fact = posting_requested_fact(refund, attempt)
    if is_system_account(refund["payee_account_id"]) and not is_system_account(refund["payer_account_id"]):
        ctx.emit(fact, via=VIA_RAIL)
    else:
        ctx.emit(fact)


async def end_refund(
    ctx: Context,
    refund: RefundDocument,
    status: RefundStatus,
    fact: RefundEvent,
    /,
    **changes: Unpack[RefundChanges],
) -> None:
    """Settle or fail the refund. The payment's `amount_refunding` goes down; a settled refund is added to
    `amount_refunded`.

    Raises Problem `illegal_state` when the refund has another terminal status.
    """
    if not refund_may_change_to(refund, status):
        raise Problem("illegal_state", f"The refund is {refund['status']}; it cannot change to {status}.")
    payment = await ctx.referenced(PAYMENTS, refund["payment_id"], "/payment_id")
    amounts: PaymentChanges = {"amount_refunding": payment["amount_refunding"] - refund["amount"]}
    if status == "settled":
        amounts["amount_refunded"] = payment["amount_refunded"] + refund["amount"]
    update_payment(ctx, payment, fact, **amounts)
    changes["status"] = status
    changes["due_at"] = None
    changes["updated_at"] = ctx.now_text
    ctx.update(REFUNDS, refund, **changes)
    await saga.end(ctx, "refund", refund["id"])


async def end_as_failed(ctx: Context, refund: RefundDocument, failure: Failure) -> None:
    """Fail the refund, with the failure in its document and in the fact. Raises what `end_refund` raises."""
    fact = RefundFailed(**refund_parties(refund), failure=failure)
    stored = failure_document(failure.code, failure.detail)
    await end_refund(ctx, refund, "failed", fact, failure=stored)
