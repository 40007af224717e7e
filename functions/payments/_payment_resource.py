"""A payment as it is answered."""

from __future__ import annotations

from typing import Literal

from functions.payments._states import awaits_caller
from shared.context.context import Context
from shared.core.money import Money, money
from shared.http.failures import FailureResource, failure_resource
from shared.http.models import Resource
from shared.records.payments import PAYMENTS, PaymentDocument, PaymentStatus


class Payment(Resource):
    """A payment."""

    id: str
    status: PaymentStatus
    amount: Money
    amount_captured: Money
    amount_refunded: Money
    method: Literal["internal"]
    payer_account_id: str
    payee_account_id: str
    capture: Literal["automatic", "manual"]
    reference: str | None
    description: str | None
    metadata: dict[str, str] | None
    failure: FailureResource | None
    created_at: str
    updated_at: str
    expires_at: str


def payment_resource(payment: PaymentDocument) -> Payment:
    """The payment as it is answered."""
    currency = payment["currency"]
    return Payment(
        id=payment["id"],
        status=payment["status"],
        amount=money(payment["amount"], currency),
        amount_captured=money(payment["amount_captured"], currency),
        amount_refunded=money(payment["amount_refunded"], currency),
        method=payment["method"],
        payer_account_id=payment["payer_account_id"],
        payee_account_id=payment["payee_account_id"],
        capture=payment["capture"],
        reference=payment["reference"],
        description=payment["description"],
        metadata=payment["metadata"],
        failure=failure_resource(payment["failure"]),
        created_at=payment["created_at"],
        updated_at=payment["updated_at"],
        expires_at=payment["expires_at"],
    )


async def payment_progress(ctx: Context, last: Payment) -> tuple[Payment, bool]:
    """The payment now, and whether it waits for nothing that the platform does by itself."""
    payment = await ctx.required(PAYMENTS, last.id)
    return payment_resource(payment), awaits_caller(payment)
