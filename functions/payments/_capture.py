"""Requesting the transfer of a payment from the ledger."""

from __future__ import annotations

from events.payments.base import PaymentEvent
from events.payments.capture_requested import PaymentCaptureRequested
from functions.payments._payment import parties, update_payment
from shared.context import saga
from shared.context.context import Context
from shared.core.money import money
from shared.records.payments import PaymentDocument


async def begin_capture(ctx: Context, payment: PaymentDocument, amount: int, *before: PaymentEvent) -> PaymentDocument:
    """Request the transfer of `amount` minor units of an authorized payment.

    `before` are facts that the same commit publishes first.
    """
    deadline = saga.ledger_deadline(ctx)
    due_at = await saga.begin(ctx, "payment", payment["id"])
    return update_payment(
        ctx,
        payment,
        *before,
        capture_fact(payment, amount, deadline, attempt=1),
        status="capturing",
        capture_amount=amount,
        ledger_deadline=deadline,
        attempt=1,
        due_at=due_at,
    )


def capture_fact(payment: PaymentDocument, amount: int, deadline: str, attempt: int) -> PaymentCaptureRequested:
    """Return the fact that requests the transfer of `amount` minor units from the ledger.

    Each attempt publishes it again, with the same transfer id and deadline.
    """
    return PaymentCaptureRequested(
        **parties(payment),
        transfer_id=payment["transfer_id"],
        capture_amount=money(amount, payment["currency"]),
        description=payment["description"],
        deadline=deadline,
        attempt=attempt,
    )
