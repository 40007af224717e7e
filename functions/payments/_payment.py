"""The fields that every fact about a payment has, and the changes of a payment."""

from __future__ import annotations

from typing import Any, Unpack

from events.payments.base import PaymentEvent
from functions.payments._states import PAYMENT_CHANGES, require_change
from functions.payments._timeline import publish_and_record
from shared.context import saga
from shared.context.context import Context
from shared.core.envelope import Event
from shared.core.money import money
from shared.records.payments import PAYMENTS, PaymentChanges, PaymentDocument, PaymentStatus


def parties(payment: PaymentDocument) -> dict[str, Any]:
    """Return the fields that every fact about a payment has (events.payments.base.PaymentEvent)."""
    return {
        "payment_id": payment["id"],
        "amount": money(payment["amount"], payment["currency"]),
        "payer_account_id": payment["payer_account_id"],
        "payee_account_id": payment["payee_account_id"],
    }


async def transition(
    ctx: Context,
    payment: PaymentDocument,
    status: PaymentStatus,
    /,
    *events: PaymentEvent,
    **changes: Unpack[PaymentChanges],
) -> PaymentDocument:
    """Change the payment's status and other fields, and publish and record the events.

    A terminal status ends the saga. Raises Problem `illegal_state` when the present status does not allow the change.
    """
    require_change(payment, status)
    changes["status"] = status
    if not PAYMENT_CHANGES[status]:
        changes["due_at"] = None
        await saga.end(ctx, "payment", payment["id"])
    return update_payment(ctx, payment, *events, **changes)


def update_payment(
    ctx: Context, payment: PaymentDocument, /, *events: Event, **changes: Unpack[PaymentChanges]
) -> PaymentDocument:
    """Change fields of the payment, and publish and record the events, all in one commit."""
    number = payment["facts"]
    for event in events:
        number += 1
        publish_and_record(ctx, payment["id"], number, event)
    changes["facts"] = number
    changes["updated_at"] = ctx.now_text
    return ctx.update(PAYMENTS, payment, **changes)
