"""Giving the money of a payment over a rail that came back to the payer: one refund for each return."""

from __future__ import annotations

from itertools import takewhile
from typing import Final

from events.payments.returned import PaymentReturned
from functions.payments._payee import payee_failure
from functions.payments._payment import parties, update_payment
from functions.payments._rail import rail_part
from functions.payments._refund import request_refund
from shared.context import saga
from shared.context.context import Context
from shared.core.money import money
from shared.records.accounts import ACCOUNTS
from shared.records.payments import REFUNDS, PaymentDocument, RefundDocument, ReturnDocument, return_purpose
from shared.records.system_accounts import system_account

_NEVER: Final = "9999-12-31T23:59:59.999999Z"
"""The deadline of a transfer that the ledger records at whatever time: the money has come back."""


async def give_back(ctx: Context, payment: PaymentDocument, returned: ReturnDocument) -> PaymentDocument:
    """Request the refund of what came back of a settled payment, once, because its id is derived from the payment and
    the return. Returns the payment.

    All refunds of the payment are together at most what was captured. Where the provider had moved more, the suspense
    account has paid the difference: what comes back after the payer has everything goes to that account, up to the
    difference, and the refund of a return that has nothing for the payer has the amount 0. What is above all that the
    provider had moved stays in the clearing account, where a reconciliation shows it. If the payer's account is closed
    or takes no credits, the money goes to the suspense account.
    """
    left = payment["amount_captured"] - payment["amount_refunded"] - payment["amount_refunding"]
    amount = min(returned["amount"], left)
    if amount != returned["amount"] or ("id" not in returned and amount != payment["amount_captured"]):
        ctx.log.error("%s came back with another amount than was captured", payment["id"])
    excess = min(returned["amount"] - amount, _owed_to_suspense(payment, returned))
    if amount + excess == 0:
        return payment
    refund = await _refund(ctx, payment, amount, excess, returned)
    fact = PaymentReturned(
        **parties(payment),
        refund_id=refund["id"],
        amount_returned=money(returned["amount"], payment["currency"]),
        reason=returned["reason"],
    )
    ctx.insert(REFUNDS, refund)
    changed = update_payment(ctx, payment, fact, amount_refunding=payment["amount_refunding"] + amount)
    request_refund(ctx, refund, attempt=1)
    return changed


def _owed_to_suspense(payment: PaymentDocument, returned: ReturnDocument) -> int:
    """Return what the suspense account has not got back yet of what it paid for the payment, before this return."""
    part = rail_part(payment)
    captured = payment["amount_captured"]
    paid = (part["amount_moved"] or captured) - captured
    earlier = takewhile(lambda one: one.get("id") != returned.get("id"), part.get("returns", []))
    back = max(0, sum(one["amount"] for one in earlier) - captured)
    return max(0, paid - back)


async def _refund(
    ctx: Context, payment: PaymentDocument, amount: int, excess: int, returned: ReturnDocument
) -> RefundDocument:
    """Return a refund that needs no hold: the clearing account pays it."""
    refund_id = ctx.derived_id("rfd", payment["id"], return_purpose(returned.get("id")))
    payee = payment["payer_account_id"]
    if amount and await payee_failure(ctx, payee) is None:
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
        "excess": excess,
        "currency": payment["currency"],
        "payer_account_id": payment["payee_account_id"],
        "payee_account_id": payee,
        "reason": f"returned by the receiver's provider: {returned['reason']}",
        "failure": None,
        "transfer_id": ctx.derived_id("ltr", refund_id, "refund"),
        "ledger_deadline": _NEVER,
        "attempt": 1,
        "due_at": await saga.begin(ctx, "refund", refund_id),
        "created_at": ctx.now_text,
        "updated_at": ctx.now_text,
    }
