"""Declining a payment."""

from __future__ import annotations

from events.failure import Failure
from events.payments.declined import PaymentDeclined
from functions.payments._payment import parties, transition
from shared.context.context import Context
from shared.records.failure import failure_document
from shared.records.payments import PaymentDocument


async def decline_payment(ctx: Context, payment: PaymentDocument, failure: Failure) -> None:
    """Decline the payment, with the failure in its document and in the fact.

    Raises Problem `illegal_state` when the present status does not allow it.
    """
    fact = PaymentDeclined(**parties(payment), failure=failure)
    stored = failure_document(failure.code, failure.detail)
    await transition(ctx, payment, "declined", fact, failure=stored)
