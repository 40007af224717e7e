"""The card gateway's callbacks: each is processed once, by the gateway's id of the event.

A callback shows the whole payment. An older one than what is known changes nothing, so their order does not count.
"""

from __future__ import annotations

from functions.providers._card import PROVIDER, apply_authorization, apply_refund
from functions.providers._rail_payment import apply_report
from shared.context.context import Context
from shared.context.tenant_work import run_in_tenant_unit_of_work
from shared.ports.card_gateway import CardEvent, CardPayment, capture_report
from shared.records.card_payments import CARD_EVENTS, CARD_PAYMENTS, CARD_REFUNDS, CardEventDocument
from shared.records.rail_payments import RAIL_PAYMENTS, RAIL_REFERENCES, reference_id


async def process_card_event(ctx: Context, event: CardEvent) -> None:
    """Process one callback, in a unit of work of its payment's tenant.

    The reference of every payment is stored before it is sent, so a callback about an unknown one is the gateway's
    error: it is logged, and the gateway cannot correct it.
    """
    payment = event.payment
    found = await ctx.get(RAIL_REFERENCES, reference_id(PROVIDER, payment.reference))
    if found is None:
        ctx.log.error("the card gateway reports %s of a payment that was not made here", event.id)
        return

    async def process(scope: Context) -> None:
        if await scope.get(CARD_EVENTS, event.id) is not None:
            return
        stored: CardEventDocument = {
            "id": event.id,
            "tenant_id": scope.tenant_id,
            "version": 1,
            "payment_id": payment.reference,
            "type": event.type,
            "report": payment.report,
            "received_at": scope.now_text,
        }
        scope.insert(CARD_EVENTS, stored)
        await _apply(scope, payment)

    # Ids that derive from a cause carry the time of the id at its end.
    cause_id = f"{PROVIDER}/{event.id}/{payment.reference}"
    await run_in_tenant_unit_of_work(
        ctx, found["paying_tenant_id"], cause_id, process, correlation_id=found["correlation_id"]
    )


async def _apply(scope: Context, payment: CardPayment) -> None:
    """Change the authorization, the capture and the refunds of a payment as the gateway shows them."""
    known = await scope.get(CARD_PAYMENTS, payment.reference)
    if known is None:
        return
    if known["gateway_id"] not in (None, payment.id):
        scope.log.error("the card gateway has two payments of %s", payment.reference)
        return
    await apply_authorization(scope, known, payment)
    captured = await scope.get(RAIL_PAYMENTS, payment.reference)
    report = capture_report(payment)
    if captured is not None and report is not None:
        await apply_report(scope, captured, report)
    for movement in payment.refunds:
        refund = await scope.get(CARD_REFUNDS, movement.reference)
        if refund is not None and refund["payment_id"] == payment.reference:
            await apply_refund(scope, refund, movement)
