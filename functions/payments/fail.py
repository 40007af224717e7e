"""ledger.transfer_refused of a payment, pix.payment_refused: its money will not move."""

from __future__ import annotations

from events.failure import Failure
from events.ledger import TransferRefused
from events.payments.failed import PaymentFailed
from events.rail_payments import REFUSED, RailPaymentRefused
from functions.payments._payment import parties, transition
from functions.payments._rail import open_review
from shared.context.context import Context
from shared.functions.decorators import event_function
from shared.records.failure import failure_document
from shared.records.payments import PAYMENTS, PaymentDocument


@event_function(TransferRefused, *REFUSED)
async def fail(event: TransferRefused | RailPaymentRefused, ctx: Context) -> None:
    """Fail the payment whose transfer the ledger refused, or which the provider refused. On that fact accounts releases
    the hold.

    When the ledger refuses the transfer of a payment that the provider has made, an operator decides: its status is
    `review`.
    """
    if isinstance(event, RailPaymentRefused):
        payment = await ctx.referenced(PAYMENTS, event.payment_id, "/payment_id")
        await _fail(ctx, payment, event.failure)
        return
    if event.cause_type != "payment":
        return
    payment = await ctx.referenced(PAYMENTS, event.cause_id, "/cause_id")
    part = payment.get("rail")
    if part is None:
        await _fail(ctx, payment, event.failure)
    elif payment["status"] == "processing":
        await open_review(ctx, payment, part, event.failure)


async def _fail(ctx: Context, payment: PaymentDocument, failure: Failure) -> None:
    if payment["status"] == "failed":
        return
    fact = PaymentFailed(**parties(payment), failure=failure)
    await transition(ctx, payment, "failed", fact, failure=failure_document(failure.code, failure.detail))
