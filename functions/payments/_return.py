"""Giving the money of a returned payment over a rail back to the payer, as one refund."""

from __future__ import annotations

from typing import Final

from events.payments.returned import PaymentReturned
from functions.payments._payee import payee_failure
from functions.payments._payment import parties, update_payment
from functions.payments._refund import request_refund
from shared.context import saga
from shared.context.context import Context
from shared.core.money import money
from shared.records.accounts import ACCOUNTS
from shared.records.payments import REFUNDS, PaymentDocument, RefundDocument, ReturnDocument
from shared.records.system_accounts import system_account

_NEVER: Final = "9999-12-31T23:59:59.999999Z"
"""The deadline of a transfer that the ledger records at whatever time: the money has come back."""


async def give_back(ctx: Context, payment: PaymentDocument, returned: ReturnDocument) -> None:
    """Request the refund of a settled payment that came back: at most what was captured, and once, because its id is
    derived from the payment.

    If the payer's account is closed or takes no credits, the money goes to the suspense account.
    """
    amount = min(returned["amount"], payment["amount_captured"])
    if amount != returned["amount"] or amount != payment["amount_captured"]:
        ctx.log.error("%s came back with another amount than was captured", payment["id"])
    refund = await _refund(ctx, payment, amount, returned["reason"])
    fact = PaymentReturned(
        **parties(payment),
        refund_id=refund["id"],
        amount_returned=money(returned["amount"], payment["currency"]),
        reason=returned["reason"],
    )
    ctx.insert(REFUNDS, refund)
    update_payment(ctx, payment, fact, amount_refunding=payment["amount_refunding"] + amount)
    request_refund(ctx, refund, attempt=1)


async def _refund(ctx: Context, payment: PaymentDocument, amount: int, reason: str) -> RefundDocument:
    """Return a refund that needs no hold: the clearing account pays it."""
    refund_id = ctx.derived_id("rfd", payment["id"], "return")
    payee = payment["payer_account_id"]
    if await payee_failure(ctx, payee) is None:
        # A closing of the account finds the refund, or conflicts with it (docs/decisions/0017).
        ctx.expect(ACCOUNTS, await ctx.required(ACCOUNTS, payee))
    else:
        payee = system_account("suspense", payment["currency"])
    return {
        "id": refund_id,
        "tenant_id": ctx.tenant_id,
        "version": 1,
        "payment_id": payment["id"],
        "status": "processing",
        "amount": amount,
        "currency": payment["currency"],
        "payer_account_id": payment["payee_account_id"],
        "payee_account_id": payee,
        "reason": f"returned by the receiver's provider: {reason}",
        "failure": None,
        "transfer_id": ctx.derived_id("ltr", refund_id, "refund"),
        "ledger_deadline": _NEVER,
        "attempt": 1,
        "due_at": await saga.begin(ctx, "refund", refund_id),
        "created_at": ctx.now_text,
        "updated_at": ctx.now_text,
    }
