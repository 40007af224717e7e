"""A payment as it is answered, as its facts tell of it, and how it changes."""

from __future__ import annotations

from typing import Any, Literal

from events.payments import PaymentCaptureRequested, PaymentCreated, PaymentEvent
from functions.payments._states import PAYMENT_CHANGES, awaits_caller, require_change
from functions.payments._timeline import tell
from shared import saga
from shared.context import Context
from shared.envelope import Event
from shared.models import Resource
from shared.money import Money, money
from shared.records import PAYMENTS, FailureDocument, PaymentDocument, PaymentStatus


class FailureResource(Resource):
    """Why it came to nothing."""

    code: str
    detail: str


class Payment(Resource):
    """A payment."""

    id: str
    status: PaymentStatus
    amount: Money
    amount_captured: Money
    amount_refunded: Money
    method: Literal["internal"]
    payer_account_id: str
    payee_account_id: str
    capture: Literal["automatic", "manual"]
    reference: str | None
    description: str | None
    metadata: dict[str, str] | None
    failure: FailureResource | None
    created_at: str
    updated_at: str
    expires_at: str


def payment_resource(payment: PaymentDocument) -> Payment:
    """The payment as it is answered."""
    currency, failure = payment["currency"], payment["failure"]
    return Payment(
        id=payment["id"],
        status=payment["status"],
        amount=money(payment["amount"], currency),
        amount_captured=money(payment["amount_captured"], currency),
        amount_refunded=money(payment["amount_refunded"], currency),
        method=payment["method"],
        payer_account_id=payment["payer_account_id"],
        payee_account_id=payment["payee_account_id"],
        capture=payment["capture"],
        reference=payment["reference"],
        description=payment["description"],
        metadata=payment["metadata"],
        failure=None if failure is None else FailureResource(code=failure["code"], detail=failure["detail"]),
        created_at=payment["created_at"],
        updated_at=payment["updated_at"],
        expires_at=payment["expires_at"],
    )


async def payment_progress(ctx: Context, last: Payment) -> tuple[Payment, bool]:
    """The payment now, and whether it waits for nothing that the platform does by itself."""
    payment = await ctx.required(PAYMENTS, last.id)
    return payment_resource(payment), awaits_caller(payment)


def parties(payment: PaymentDocument) -> dict[str, Any]:
    """What every fact about the payment says (fields of events.payments.PaymentEvent)."""
    return {
        "payment_id": payment["id"],
        "amount": money(payment["amount"], payment["currency"]),
        "payer_account_id": payment["payer_account_id"],
        "payee_account_id": payment["payee_account_id"],
    }


def created_fact(payment: PaymentDocument, attempt: int) -> PaymentCreated:
    """Asks accounts to hold the amount; again with each attempt."""
    return PaymentCreated(
        **parties(payment),
        method=payment["method"],
        capture=payment["capture"],
        expires_at=payment["expires_at"],
        attempt=attempt,
    )


def capture_fact(payment: PaymentDocument, amount: int, deadline: str, attempt: int) -> PaymentCaptureRequested:
    """Asks the ledger to move `amount`; again with each attempt, under the same transfer id and deadline."""
    return PaymentCaptureRequested(
        **parties(payment),
        transfer_id=payment["transfer_id"],
        capture_amount=money(amount, payment["currency"]),
        description=payment["description"],
        deadline=deadline,
        attempt=attempt,
    )


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


async def begin_capture(ctx: Context, payment: PaymentDocument, amount: int, *before: PaymentEvent) -> PaymentDocument:
    """Ask the ledger to move `amount` of an authorized payment; `before` are the facts that led here."""
    deadline = saga.ledger_deadline(ctx.runtime.settings, ctx.now)
    due_at = await saga.begin(ctx, "payment", payment["id"])
    return note(
        ctx,
        payment,
        *before,
        capture_fact(payment, amount, deadline, attempt=1),
        status="capturing",
        capture_amount=amount,
        ledger_deadline=deadline,
        attempt=1,
        due_at=due_at,
    )


def failure_document(code: str, detail: str) -> FailureDocument:
    """A reason as it is stored."""
    return {"code": code, "detail": detail}
