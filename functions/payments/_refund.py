"""A refund as it is answered, as its facts tell of it, and how it ends."""

from __future__ import annotations

from typing import Any

from events.refunds import RefundCreated, RefundEvent
from functions.payments._payment import FailureResource, note
from functions.payments._states import refund_is_final, refund_may_become
from shared import saga
from shared.context import Context
from shared.models import Resource
from shared.money import Money, money
from shared.problems import Problem
from shared.records import PAYMENTS, REFUNDS, RefundDocument, RefundStatus


class Refund(Resource):
    """A refund."""

    id: str
    payment_id: str
    amount: Money
    status: RefundStatus
    reason: str | None
    failure: FailureResource | None
    created_at: str
    updated_at: str


def refund_resource(refund: RefundDocument) -> Refund:
    """The refund as it is answered."""
    failure = refund["failure"]
    return Refund(
        id=refund["id"],
        payment_id=refund["payment_id"],
        amount=money(refund["amount"], refund["currency"]),
        status=refund["status"],
        reason=refund["reason"],
        failure=None if failure is None else FailureResource(code=failure["code"], detail=failure["detail"]),
        created_at=refund["created_at"],
        updated_at=refund["updated_at"],
    )


async def refund_progress(ctx: Context, last: Refund) -> tuple[Refund, bool]:
    """The refund now, and whether it has ended."""
    refund = await ctx.required(REFUNDS, last.id)
    return refund_resource(refund), refund_is_final(refund)


def refund_parties(refund: RefundDocument) -> dict[str, Any]:
    """What every fact about the refund says (fields of events.refunds.RefundEvent)."""
    return {
        "refund_id": refund["id"],
        "payment_id": refund["payment_id"],
        "amount": money(refund["amount"], refund["currency"]),
        "payer_account_id": refund["payer_account_id"],
        "payee_account_id": refund["payee_account_id"],
    }


def refund_created_fact(refund: RefundDocument, attempt: int) -> RefundCreated:
    """Asks accounts to hold what is to be given back, and then the ledger to move it; again with each attempt."""
    return RefundCreated(
        **refund_parties(refund),
        transfer_id=refund["transfer_id"],
        deadline=refund["ledger_deadline"],
        attempt=attempt,
    )


async def end_refund(
    ctx: Context, refund: RefundDocument, status: RefundStatus, fact: RefundEvent, **changes: object
) -> None:
    """Settle or fail the refund, and give the payment account of it: refunded, or free to be refunded again.

    Raises Problem `illegal_state` when the refund has ended otherwise.
    """
    if not refund_may_become(refund, status):
        raise Problem("illegal_state", f"A refund that is {refund['status']} does not become {status}.")
    payment = await ctx.referenced(PAYMENTS, refund["payment_id"], "/payment_id")
    amounts = {"amount_refunding": payment["amount_refunding"] - refund["amount"]}
    if status == "settled":
        amounts["amount_refunded"] = payment["amount_refunded"] + refund["amount"]
    note(ctx, payment, fact, **amounts)
    ctx.update(REFUNDS, refund, status=status, due_at=None, updated_at=ctx.now_text, **changes)
    await saga.end(ctx, "refund", refund["id"])
