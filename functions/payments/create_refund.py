"""POST /v1/payments/{payment_id}/refunds → refund.created."""

from __future__ import annotations

from pydantic import Field

from functions.payments._access import refundable_payment
from functions.payments._card import refuse_card_number_about
from functions.payments._payment import update_payment
from functions.payments._refund import refund_created_fact
from functions.payments._refund_resource import Refund, refund_progress, refund_resource
from shared.context import saga
from shared.context.context import Context
from shared.core.money import Amount
from shared.core.problems import Problem
from shared.functions.decorators import http_function
from shared.http.models import Command, Description
from shared.records.payments import REFUNDS, PaymentDocument, RefundDocument
from shared.records.system_accounts import is_system_account


class CreateRefund(Command):
    """A new refund of a settled payment, of all that is left or of a part."""

    amount: Amount | None = Field(
        default=None, description="The amount to return. Without it, all that is left of the captured amount."
    )
    reason: Description | None = Field(default=None, description="Why the money is returned. It is stored.")


@http_function(
    "POST /v1/payments/{payment_id}/refunds",
    scope="payments:write",
    status=201,
    location="/v1/refunds/{result.id}",
    empty_body_is_object=True,
    progress=refund_progress,
    problems=("illegal_state", "amount_exceeds_refundable", "currency_mismatch"),
)
async def create_refund(payment_id: str, command: CreateRefund, ctx: Context) -> Refund:
    """Refund a payment.

    The payment must be `settled`. It can be refunded in parts, until all of the captured amount is refunded. A payment
    to a receiver elsewhere cannot be refunded: only its receiver can return the money.
    """
    payment = await refundable_payment(ctx, payment_id)
    refuse_card_number_about(payment, command)
    if is_system_account(payment["payee_account_id"]):
        detail = f"A payment by `{payment['method']}` cannot be refunded here: only its receiver can return the money."
        raise Problem("illegal_state", detail)
    if payment["status"] != "settled":
        raise Problem("illegal_state", f"A payment that is {payment['status']} cannot be refunded.")
    amount = _amount(command, payment)
    refund = await _new_refund(ctx, payment, amount, command.reason)
    ctx.insert(REFUNDS, refund)
    # The payment's `amount_refunding` counts the amount at once: two concurrent refunds cannot exceed the captured
    # amount together.
    fact = refund_created_fact(refund, attempt=1)
    update_payment(ctx, payment, fact, amount_refunding=payment["amount_refunding"] + amount)
    return refund_resource(refund)


def _amount(command: CreateRefund, payment: PaymentDocument) -> int:
    if command.amount is not None and command.amount.currency != payment["currency"]:
        raise Problem.at("currency_mismatch", "/amount/currency", f"The payment is in {payment['currency']}.")
    left = payment["amount_captured"] - payment["amount_refunded"] - payment["amount_refunding"]
    amount = left if command.amount is None else command.amount.value
    if amount > left or left == 0:
        raise Problem.at("amount_exceeds_refundable", "/amount/value", f"{left} can be refunded.")
    return amount


async def _new_refund(ctx: Context, payment: PaymentDocument, amount: int, reason: str | None) -> RefundDocument:
    refund_id = ctx.new_id("rfd")
    return {
        "id": refund_id,
        "tenant_id": ctx.tenant_id,
        "version": 1,
        "payment_id": payment["id"],
        "status": "created",
        "amount": amount,
        "excess": 0,
        "currency": payment["currency"],
        "payer_account_id": payment["payee_account_id"],
        "payee_account_id": payment["payer_account_id"],
        "reason": reason,
        "failure": None,
        "transfer_id": ctx.derived_id("ltr", refund_id, "refund"),
        "ledger_deadline": saga.ledger_deadline(ctx),
        "attempt": 1,
        "due_at": await saga.begin(ctx, "refund", refund_id),
        "created_at": ctx.now_text,
        "updated_at": ctx.now_text,
    }
