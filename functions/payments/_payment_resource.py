"""The payment resource of the HTTP API."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from functions.payments._states import awaits_caller
from shared.context.context import Context
from shared.core.money import Money, money
from shared.http.failures import FailureResource, failure_resource
from shared.http.models import METADATA, CreatedAt, Resource, Time, UpdatedAt
from shared.records.payments import PAYMENTS, PaymentDocument, PaymentStatus


class Payment(Resource):
    """A payment from one account to another."""

    id: str = Field(description="The payment's id, `pay_…`.")
    status: PaymentStatus = Field(
        description="`created`: accepted, the amount is not held yet. `authorized`: the amount is held on the payer's "
        "account. `capturing`: the ledger was asked to move the money. `settled`: the money has moved. `declined`: the "
        "amount could not be held (see `failure`). `failed`: the ledger did not move the money (see `failure`). "
        "`canceled` by the caller. `expired`: not captured before `expires_at`."
    )
    amount: Money = Field(description="The amount that was requested.")
    amount_captured: Money = Field(description="The part of `amount` that was moved to the payee; 0 before settlement.")
    amount_refunded: Money = Field(description="The sum of all settled refunds.")
    method: Literal["internal"] = Field(description="How the money moves. `internal`: between two accounts here.")
    payer_account_id: str = Field(description="The id of the account that pays.")
    payee_account_id: str = Field(description="The id of the account that receives the money.")
    capture: Literal["automatic", "manual"] = Field(
        description="`automatic`: captured as soon as the amount is held. `manual`: the caller captures or cancels it."
    )
    reference: str | None = Field(description="The caller's own reference, or null.")
    description: str | None = Field(description="The text for the statements of both accounts, or null.")
    metadata: dict[str, str] | None = Field(description=METADATA)
    failure: FailureResource | None = Field(
        description="Why the payment is `declined`, `failed` or `expired`; null where nothing failed."
    )
    created_at: CreatedAt
    updated_at: UpdatedAt
    expires_at: Time = Field(description="When an amount that is held and not captured is released.")


def payment_resource(payment: PaymentDocument) -> Payment:
    """Return the resource of a payment."""
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
    """Return the payment as it is now, and whether the platform has finished its work on it for now."""
    payment = await ctx.required(PAYMENTS, last.id)
    return payment_resource(payment), awaits_caller(payment)
