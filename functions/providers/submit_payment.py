"""payment.capture_requested over a rail, saga.overdue of a payment: order the payment at its provider."""

from __future__ import annotations

import json
from typing import Final

from events.payments.capture_requested import PaymentCaptureRequested
from events.sweeps import SagaOverdue
from functions.providers._rail_payment import FINAL, apply_report, fact_of, remember_payment
from shared.context.context import Context
from shared.functions.decorators import event_function
from shared.ports.documents import Unavailable
from shared.ports.rail import RailRefused
from shared.ports.rail_payments import PaymentRail, RailOrder, RailReport
from shared.records.payments import PAYMENTS, PaymentDocument
from shared.records.rail_payments import RAIL_PAYMENTS, RailPaymentDocument

_IN_PROGRESS: Final = frozenset({"capturing", "processing"})


@event_function(PaymentCaptureRequested, SagaOverdue)
async def submit_payment(event: PaymentCaptureRequested | SagaOverdue, ctx: Context) -> None:
    """Order a payment at the provider of its rail, and publish what the provider answers.

    A payment that may have been ordered before is asked for by its reference first, and ordered again only when the
    provider does not know it. If the provider does not answer, the outcome is unknown: Problem `dependency_unavailable`
    (503) has the request delivered again, and later each `saga.overdue` asks again.
    """
    if isinstance(event, PaymentCaptureRequested):
        await _submit(ctx, event.payment_id)
    elif event.saga_type == "payment" and event.step in _IN_PROGRESS:
        try:
            await _submit(ctx, event.saga_id)
        except Unavailable as error:
            ctx.log.warning("%s stays in progress, its provider does not answer: %s", event.saga_id, error)


async def _submit(ctx: Context, payment_id: str) -> None:
    payment = await ctx.referenced(PAYMENTS, payment_id, "/payment_id")
    if payment["method"] == "internal" or payment["status"] not in _IN_PROGRESS:
        return
    rail = ctx.payment_rails[payment["method"]]
    known = await ctx.get(RAIL_PAYMENTS, payment_id)
    if known is None:
        known = await remember_payment(ctx, payment)
        report = await _send(ctx, rail, known, payment)
    elif known["status"] in FINAL:
        # The payments domain has not processed the outcome: it is published again.
        ctx.emit(fact_of(known))
        return
    else:
        report = await rail.state(known["reference"]) or await _send(ctx, rail, known, payment)
    if known["status"] == report.status == "processing" and payment["status"] == "capturing":
        ctx.emit(fact_of(known))
    apply_report(ctx, known, report)


async def _send(ctx: Context, rail: PaymentRail, known: RailPaymentDocument, payment: PaymentDocument) -> RailReport:
    """Order the payment. A refusal is returned as a report. Raises Unavailable when the outcome is unknown."""
    part = payment.get("rail")
    assert part is not None, "a payment with another method than `internal` has the part of its rail"
    (receiver,) = await ctx.secrets.open([part["receiver"]])
    order = RailOrder(
        known["reference"],
        known["amount"],
        json.loads(receiver),
        payment["description"],
        ctx.public_url(f"/v1/providers/{known['rail']}/callbacks"),
    )
    try:
        return await rail.send(order)
    except RailRefused as refusal:
        ctx.log.warning("the rail refused the payment %s: %s", known["reference"], refusal.code)
        return RailReport(known["reference"], "refused", 0, refusal.code, str(refusal), None, {})
