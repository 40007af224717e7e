"""payment.capture_requested over a rail, saga.overdue of a payment: order the payment at its provider."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from events.payments.capture_requested import PaymentCaptureRequested
from events.sweeps import SagaOverdue
from functions.providers._look_ups import HIT, MISS, take
from functions.providers._rail_payment import FINAL, apply_report, fact_of, remember_payment
from shared.context.context import Context
from shared.core.clock import parse_time
from shared.functions.decorators import event_function
from shared.ports.documents import Unavailable
from shared.ports.rail import RailRefused
from shared.ports.rail_payments import (
    PROVIDER_REFUSED,
    DirectoryRail,
    PaymentRail,
    RailOrder,
    RailReport,
    ReceiverRefused,
)
from shared.records.payments import PAYMENTS, PaymentDocument
from shared.records.rail_payments import RAIL_PAYMENTS, RailPaymentDocument

TERMS_SECONDS: Final = 60
"""For how long the terms of a receiver are tried to be read."""
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
    await apply_report(ctx, known, report)


async def _send(ctx: Context, rail: PaymentRail, known: RailPaymentDocument, payment: PaymentDocument) -> RailReport:
    """Order the payment. A refusal is returned as a report. Raises Unavailable when the outcome is unknown."""
    part = payment.get("rail")
    assert part is not None, "a payment with another method than `internal` has the part of its rail"
    (receiver,) = await ctx.secrets.open([part["receiver"]])
    callback_url = ctx.public_url(f"/v1/providers/{known['rail']}/callbacks")
    try:
        fields = await _known_receiver(ctx, rail, known, json.loads(receiver))
        return await rail.send(
            RailOrder(known["reference"], known["amount"], fields, payment["description"], callback_url)
        )
    except RailRefused as refusal:
        ctx.log.warning("the payment %s is refused: %s", known["reference"], refusal.code)
        reason = refusal.code if isinstance(refusal, ReceiverRefused) else PROVIDER_REFUSED
        return RailReport(known["reference"], "refused", 0, refusal.code, str(refusal), None, {}, reason)


async def _known_receiver(
    ctx: Context, rail: PaymentRail, known: RailPaymentDocument, receiver: Mapping[str, str]
) -> Mapping[str, str]:
    """Return the receiver's fields for the order. On a rail with a directory its terms are read and it is looked up.

    Raises ReceiverRefused, or Unavailable when it is not known whether the receiver exists.
    """
    if not isinstance(rail, DirectoryRail):
        return receiver
    fields = await _terms(ctx, rail, known, receiver)
    if not await take(ctx, known, HIT):
        detail = "The payer has looked up too many receivers. Two more look-ups are possible every minute."
        raise ReceiverRefused("look_ups_exhausted", detail)
    if await rail.look_up(fields, f"{ctx.tenant_id}/{known['payer_user_id']}"):
        return fields
    await take(ctx, known, MISS - HIT)
    raise ReceiverRefused("receiver_not_found", f"{rail.title} has no such receiver.")


async def _terms(
    ctx: Context, rail: DirectoryRail, known: RailPaymentDocument, receiver: Mapping[str, str]
) -> Mapping[str, str]:
    """Return the receiver's fields with its terms, which are tried for a minute: until then nothing is ordered, so the
    payment can fail."""
    try:
        return await rail.read_terms(receiver, known["amount"], ctx.outgoing, ctx.now)
    except Unavailable as error:
        if ctx.now - parse_time(known["created_at"]) < timedelta(seconds=TERMS_SECONDS):
            raise
        raise ReceiverRefused("br_code_refused", f"The terms of the receiver cannot be read: {error}.") from None
