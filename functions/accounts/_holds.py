"""Holds: one for each payment or refund that wants an amount set aside, whatever became of the wish."""

from __future__ import annotations

from typing import NamedTuple

from events.failure import Failure
from events.holds import FundsHeld, FundsRefused
from events.payments.base import PaymentEvent
from events.payments.created import PaymentCreated
from events.refunds import RefundEvent
from shared.context.context import Context
from shared.core.money import money
from shared.records.accounts import HoldCause, HoldDocument, HoldStatus


class HoldWish(NamedTuple):
    """What an event says about the amount that its payment or refund wants set aside."""

    hold_id: str
    cause_type: HoldCause
    cause_id: str
    payment_id: str
    account_id: str
    counterparty_account_id: str
    amount: int
    currency: str
    expires_at: str | None = None


def hold_id(ctx: Context, cause_id: str) -> str:
    """The id of the one hold of a payment or refund."""
    return ctx.derived_id("hld", cause_id, "hold")


def wish_of(event: PaymentEvent | RefundEvent, ctx: Context) -> HoldWish:
    """What a fact about a payment or refund says of its hold."""
    cause_type: HoldCause = "payment" if isinstance(event, PaymentEvent) else "refund"
    cause_id = event.subject
    return HoldWish(
        hold_id=hold_id(ctx, cause_id),
        cause_type=cause_type,
        cause_id=cause_id,
        payment_id=event.payment_id,
        account_id=event.payer_account_id,
        counterparty_account_id=event.payee_account_id,
        amount=event.amount.value,
        currency=event.amount.currency,
        expires_at=event.expires_at if isinstance(event, PaymentCreated) else None,
    )


def new_hold(
    ctx: Context, wish: HoldWish, status: HoldStatus, *, amount: int, failure: Failure | None = None
) -> HoldDocument:
    """The document that answers a wish; `amount` is what is really set aside, in minor units."""
    return {
        "id": wish.hold_id,
        "tenant_id": ctx.tenant_id,
        "version": 1,
        "status": status,
        "account_id": wish.account_id,
        "amount": amount,
        "currency": wish.currency,
        "cause_type": wish.cause_type,
        "cause_id": wish.cause_id,
        "payment_id": wish.payment_id,
        "counterparty_account_id": wish.counterparty_account_id,
        "expires_at": wish.expires_at,
        "failure": None if failure is None else {"code": failure.code, "detail": failure.detail},
        "created_at": ctx.now_text,
        "updated_at": ctx.now_text,
    }


def tell_held(ctx: Context, wish: HoldWish) -> None:
    """Publish that the amount is held."""
    held = FundsHeld(
        account_id=wish.account_id,
        hold_id=wish.hold_id,
        amount=money(wish.amount, wish.currency),
        cause_type=wish.cause_type,
        cause_id=wish.cause_id,
        payment_id=wish.payment_id,
        counterparty_account_id=wish.counterparty_account_id,
    )
    ctx.emit(held, causetype=wish.cause_type)


def tell_refused(ctx: Context, wish: HoldWish, failure: Failure) -> None:
    """Publish that the amount cannot be set aside."""
    refused = FundsRefused(
        account_id=wish.account_id,
        amount=money(wish.amount, wish.currency),
        cause_type=wish.cause_type,
        cause_id=wish.cause_id,
        payment_id=wish.payment_id,
        failure=failure,
    )
    ctx.emit(refused, causetype=wish.cause_type)
