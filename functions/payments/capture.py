"""POST /v1/payments/{payment_id}/capture."""

from __future__ import annotations

from pydantic import Field

from functions.payments._access import changeable_payment
from functions.payments._capture import begin_capture
from functions.payments._payment_resource import Payment, payment_progress, payment_resource
from functions.payments._states import require_change
from shared.context.context import Context
from shared.core.money import Amount
from shared.core.problems import Problem
from shared.functions.decorators import http_function
from shared.http.models import Command
from shared.records.accounts import ACCOUNTS
from shared.records.payments import PaymentDocument


class Capture(Command):
    """The amount to capture of an authorized payment, all of it or a part."""

    amount: Amount | None = Field(
        default=None,
        description="The amount to capture, at most the authorized one. Without it, all of it. The rest is released.",
    )


@http_function(
    "POST /v1/payments/{payment_id}/capture",
    scope="payments:write",
    empty_body_is_object=True,
    progress=payment_progress,
    problems=("illegal_state", "amount_exceeds_authorized", "currency_mismatch"),
)
async def capture(payment_id: str, command: Capture, ctx: Context) -> Payment:
    """Capture an authorized payment.

    A payment is captured once, in full or in part. What is not captured is released. While the payee's account is
    blocked for credits, the payment cannot be captured. A payment over a rail is then ordered at its provider.
    """
    payment = await changeable_payment(ctx, payment_id)
    require_change(payment, "capturing")
    if payment["expires_at"] <= ctx.now_text:
        raise Problem("illegal_state", "The authorization has expired.")
    payee = await ctx.get(ACCOUNTS, payment["payee_account_id"])
    if payee is not None and payee["block_mode"] == "all":
        raise Problem("illegal_state", "The payee's account is blocked for credits.")
    return payment_resource(await begin_capture(ctx, payment, _amount(command, payment)))


def _amount(command: Capture, payment: PaymentDocument) -> int:
    if command.amount is None:
        return payment["amount"]
    if command.amount.currency != payment["currency"]:
        raise Problem.at("currency_mismatch", "/amount/currency", f"The payment is in {payment['currency']}.")
    if command.amount.value > payment["amount"]:
        raise Problem.at("amount_exceeds_authorized", "/amount/value", f"{payment['amount']} are authorized.")
    return command.amount.value
