"""refund.posting_requested of a card payment, saga.overdue of a refund → card.refund_paid | card.refund_refused."""

from __future__ import annotations

from events.refunds import RefundPostingRequested
from events.sweeps import SagaOverdue
from functions.providers._card import PROVIDER, apply_refund, publish_refund, refuse_refund, remember_refund
from shared.context.context import Context
from shared.core.problems import Problem
from shared.functions.decorators import event_function
from shared.ports.card_gateway import CardMovement, CardPayment
from shared.ports.documents import Unavailable
from shared.ports.rail import RailRefused
from shared.records.card_payments import CARD_PAYMENTS, CARD_REFUNDS, CardRefundDocument
from shared.records.payments import PAYMENTS, REFUNDS


@event_function(RefundPostingRequested, SagaOverdue)
async def refund_card(event: RefundPostingRequested | SagaOverdue, ctx: Context) -> None:
    """Have the gateway return an amount to the card, and publish the outcome.

    A refund that may have been sent before is looked for by our id first, and sent again only when the gateway does not
    know it. If the gateway does not answer, the outcome is unknown: Problem `dependency_unavailable` (503) has the
    request delivered again, and later each `saga.overdue` asks again.
    """
    if isinstance(event, RefundPostingRequested):
        await _refund(ctx, event.refund_id)
    elif event.saga_type == "refund" and event.step == "processing":
        try:
            await _refund(ctx, event.saga_id)
        except Unavailable as error:
            ctx.log.warning("%s stays in progress, the gateway does not answer: %s", event.saga_id, error)


async def _refund(ctx: Context, refund_id: str) -> None:
    refund = await ctx.referenced(REFUNDS, refund_id, "/refund_id")
    payment = await ctx.referenced(PAYMENTS, refund["payment_id"], "/payment_id")
    if payment["method"] != PROVIDER or refund["status"] != "processing":
        return
    known = await ctx.get(CARD_REFUNDS, refund_id)
    if known is not None and known["status"] in ("settled", "refused"):
        # The ledger or the payments domain has not processed the outcome: it is published again.
        await publish_refund(ctx, known)
        return
    movement = None
    if known is None:
        known = await remember_refund(ctx, refund)
    else:
        found = await ctx.card_gateway.payment(payment["id"])
        movement = None if found is None else refund_of(found, refund_id)
    if movement is None:
        movement = await _sent(ctx, known)
    if movement is not None:
        await apply_refund(ctx, known, movement)


async def _sent(ctx: Context, known: CardRefundDocument) -> CardMovement | None:
    """Send the refund, and return it as the gateway shows it; None when it was refused. Raises Unavailable when the
    outcome is unknown."""
    payment = await ctx.required(CARD_PAYMENTS, known["payment_id"])
    gateway_id = payment["gateway_id"]
    if gateway_id is None:
        raise Problem("illegal_state", f"{payment['id']} was never at the gateway, and cannot be refunded there.")
    try:
        found = await ctx.card_gateway.refund(gateway_id, known["id"], known["amount"])
    except RailRefused as refusal:
        ctx.log.warning("the card gateway refused the refund %s: %s", known["id"], refusal.code)
        await refuse_refund(ctx, known, refusal.code, str(refusal))
        return None
    return refund_of(found, known["id"])


def refund_of(payment: CardPayment, refund_id: str) -> CardMovement | None:
    """Return a refund of a payment as the gateway shows it, or None when it does not."""
    return next((refund for refund in payment.refunds if refund.reference == refund_id), None)
