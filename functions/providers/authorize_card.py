"""payment.created by card, saga.overdue of a payment → card.authorized | card.declined."""

from __future__ import annotations

import json

from events.payments.created import PaymentCreated
from events.sweeps import SagaOverdue
from functions.providers._card import (
    PROVIDER,
    apply_authorization,
    publish_decision,
    refuse_authorization,
    remember_authorization,
)
from shared.context.context import Context
from shared.functions.decorators import event_function
from shared.ports.card_gateway import AuthorizationOrder
from shared.ports.documents import Unavailable
from shared.ports.rail import RailRefused
from shared.records.card_payments import CARD_PAYMENTS, CardPaymentDocument
from shared.records.payments import PAYMENTS, PaymentDocument


@event_function(PaymentCreated, SagaOverdue)
async def authorize_card(event: PaymentCreated | SagaOverdue, ctx: Context) -> None:
    """Have the card's issuer reserve the amount of a payment, and publish what it decides.

    A payment that may have been sent before is asked for by our id first, and sent again only when the gateway does not
    know it. If the gateway does not answer, the outcome is unknown: Problem `dependency_unavailable` (503) has the
    request delivered again, and later each `saga.overdue` asks again.
    """
    if isinstance(event, PaymentCreated):
        await _authorize(ctx, event.payment_id)
    elif event.saga_type == "payment" and event.step == "created":
        try:
            await _authorize(ctx, event.saga_id)
        except Unavailable as error:
            ctx.log.warning("%s is not authorized yet, the gateway does not answer: %s", event.saga_id, error)


async def _authorize(ctx: Context, payment_id: str) -> None:
    payment = await ctx.referenced(PAYMENTS, payment_id, "/payment_id")
    if payment["method"] != PROVIDER:
        return
    is_wanted = payment["status"] == "created"
    known = await ctx.get(CARD_PAYMENTS, payment_id)
    if known is None:
        if is_wanted:
            await _send(ctx, await remember_authorization(ctx, payment), payment)
    elif known["status"] not in ("sending", "pending"):
        if is_wanted:
            # The accounts domain has not processed the decision: it is published again.
            await publish_decision(ctx, known)
    else:
        # Also when the payment has ended: the hold of an authorization that the gateway has is then given back.
        found = await ctx.card_gateway.payment(payment_id)
        if found is not None:
            await apply_authorization(ctx, known, found)
        elif is_wanted:
            await _send(ctx, known, payment)


async def _send(ctx: Context, known: CardPaymentDocument, payment: PaymentDocument) -> None:
    """Send the payment to the gateway. Raises Unavailable when the outcome is unknown."""
    part = payment["rail"]
    assert part is not None, "a card payment has its token there"
    (receiver,) = await ctx.secrets.open([part["receiver"]])
    order = AuthorizationOrder(
        payment["id"],
        payment["amount"],
        payment["currency"],
        json.loads(receiver)["token"],
        payment["description"],
        ctx.public_url(f"/v1/providers/{PROVIDER}/callbacks"),
    )
    try:
        found = await ctx.card_gateway.authorize(order)
    except RailRefused as refusal:
        ctx.log.warning("the card gateway refused the payment %s: %s", payment["id"], refusal.code)
        await refuse_authorization(ctx, known, refusal.code)
        return
    await apply_authorization(ctx, known, found)
