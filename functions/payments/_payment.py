"""A payment as its facts tell of it, and how it changes."""

from __future__ import annotations

from typing import Any

from events.payments.base import PaymentEvent
from functions.payments._states import PAYMENT_CHANGES, require_change
from functions.payments._timeline import tell
from shared.context import saga
from shared.context.context import Context
from shared.core.envelope import Event
from shared.core.money import money
from shared.records.failure import FailureDocument
from shared.records.payments import PAYMENTS, PaymentDocument, PaymentStatus


def parties(payment: PaymentDocument) -> dict[str, Any]:
    """What every fact about the payment says (fields of events.payments.PaymentEvent)."""
    return {
        "payment_id": payment["id"],
        "amount": money(payment["amount"], payment["currency"]),
        "payer_account_id": payment["payer_account_id"],
        "payee_account_id": payment["payee_account_id"],
    }


async def become(
    ctx: Context, payment: PaymentDocument, status: PaymentStatus, *facts: PaymentEvent, **changes: object
) -> PaymentDocument:
    """Change the payment's state, tell the facts and keep them in its timeline.

    A terminal state ends the saga. Raises Problem `illegal_state` when the state does not allow the change.
    """
    require_change(payment, status)
    if not PAYMENT_CHANGES[status]:
        changes["due_at"] = None
        await saga.end(ctx, "payment", payment["id"])
    return note(ctx, payment, *facts, status=status, **changes)


def note(ctx: Context, payment: PaymentDocument, *facts: Event, **changes: object) -> PaymentDocument:
    """Change fields of the payment, tell the facts and keep them in its timeline, all in one commit."""
    number = payment["facts"]
    for fact in facts:
        number += 1
        tell(ctx, payment["id"], number, fact)
    return ctx.update(PAYMENTS, payment, facts=number, updated_at=ctx.now_text, **changes)


def failure_document(code: str, detail: str) -> FailureDocument:
    """A reason as it is stored."""
    return {"code": code, "detail": detail}
