"""Requesting the transfer of a payment from the ledger, or from the provider of its rail."""

from __future__ import annotations

from events.payments.base import PaymentEvent
from events.payments.capture_requested import PaymentCaptureRequested
from functions.payments._payment import parties, update_payment
from functions.payments._timeline import publish_and_record, publish_via_rail
from shared.context import saga
from shared.context.context import Context
from shared.core.money import money
from shared.records.payments import PAYMENTS, PaymentDocument


async def begin_capture(ctx: Context, payment: PaymentDocument, amount: int, *before: PaymentEvent) -> PaymentDocument:
    """Request the transfer of `amount` minor units of an authorized payment, or its order at the provider of its rail.

    `before` are facts that the same commit publishes first.
    """
    deadline = saga.ledger_deadline(ctx)
    due_at = await saga.begin(ctx, "payment", payment["id"])
    fact = capture_fact(payment, amount, deadline, attempt=1)
    if payment["method"] != "internal":
        return _order_at_provider(ctx, payment, amount, due_at, fact, before)
    return update_payment(
        ctx,
        payment,
        *before,
        fact,
        status="capturing",
        capture_amount=amount,
        ledger_deadline=deadline,
        attempt=1,
        due_at=due_at,
    )


def _order_at_provider(
    ctx: Context,
    payment: PaymentDocument,
    amount: int,
    due_at: str,
    fact: PaymentCaptureRequested,
    before: tuple[PaymentEvent, ...],
) -> PaymentDocument:
    """Request the order of a payment over a rail. The ledger records its transfer when the provider has made it."""
    number = payment["facts"]
    for event in before:
        number += 1
        publish_and_record(ctx, payment["id"], number, event)
    publish_via_rail(ctx, payment["id"], number + 1, fact)
    return ctx.update(
        PAYMENTS,
        payment,
        status="capturing",
        capture_amount=amount,
        attempt=1,
        due_at=due_at,
        facts=number + 1,
        updated_at=ctx.now_text,
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
