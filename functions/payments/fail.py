"""lastro.ledger.transfer_refused.v1 of a payment: its transfer will not be recorded."""

from __future__ import annotations

from events.ledger import TransferRefused
from events.payments.failed import PaymentFailed
from functions.payments._payment import parties, transition
from shared.context.context import Context
from shared.functions.decorators import event_function
from shared.records.failure import failure_document
from shared.records.payments import PAYMENTS


@event_function(TransferRefused)
async def fail(event: TransferRefused, ctx: Context) -> None:
    """Fail the payment whose transfer the ledger refused. On that fact accounts releases the hold."""
    if event.cause_type != "payment":
        return
    payment = await ctx.referenced(PAYMENTS, event.cause_id, "/cause_id")
    if payment["status"] == "failed":
        return
    fact = PaymentFailed(**parties(payment), failure=event.failure)
    failure = failure_document(event.failure.code, event.failure.detail)
    await transition(ctx, payment, "failed", fact, failure=failure)
