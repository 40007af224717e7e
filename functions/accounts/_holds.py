"""Holds: one document for each payment or refund that requested one, also when the request was refused."""

from __future__ import annotations

from typing import NamedTuple

from events.failure import Failure
from events.holds import FundsHeld, FundsRefused, FundsReleased, ReleaseReason
from events.payments.base import PaymentEvent
from events.payments.created import PaymentCreated
from events.refunds import RefundEvent
from events.returns import ReturnEvent
from shared.context.context import Context
from shared.core.money import money
from shared.records.accounts import HoldCause, HoldDocument, HoldStatus
from shared.records.system_accounts import is_system_account


class HoldRequest(NamedTuple):
    """A payment's or refund's request to hold an amount, in minor units, on its payer's account."""

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
    """Return the id of the one hold that a payment or refund has."""
    return ctx.derived_id("hld", cause_id, "hold")


def hold_request(event: PaymentEvent | RefundEvent, ctx: Context) -> HoldRequest:
    """Return the hold request that a fact about a payment or refund describes."""
    cause_type: HoldCause = "payment" if isinstance(event, PaymentEvent) else "refund"
    cause_id = event.subject
    return HoldRequest(
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


def return_hold_request(event: ReturnEvent, ctx: Context) -> HoldRequest:
    """Return the hold request of a return of a received payment."""
    return HoldRequest(
        hold_id=hold_id(ctx, event.return_id),
        cause_type="return",
        cause_id=event.return_id,
        payment_id=event.deposit_id,
        account_id=event.account_id,
        counterparty_account_id=event.clearing_account_id,
        amount=event.amount.value,
        currency=event.amount.currency,
    )


def new_hold(
    ctx: Context,
    request: HoldRequest,
    status: HoldStatus,
    *,
    amount: int,
    failure: Failure | None = None,
    limited: bool = False,
) -> HoldDocument:
    """Return the document of a hold.

    `amount` is the amount really held, in minor units; 0 for a refused request. `limited` is whether it is counted
    against the limits of the account.
    """
    return {
        "id": request.hold_id,
        "tenant_id": ctx.tenant_id,
        "version": 1,
        "status": status,
        "account_id": request.account_id,
        "amount": amount,
        "currency": request.currency,
        "cause_type": request.cause_type,
        "cause_id": request.cause_id,
        "payment_id": request.payment_id,
        "counterparty_account_id": request.counterparty_account_id,
        "expires_at": request.expires_at,
        "limited": limited,
        "failure": None if failure is None else {"code": failure.code, "detail": failure.detail},
        "created_at": ctx.now_text,
        "updated_at": ctx.now_text,
    }


def publish_held(ctx: Context, request: HoldRequest) -> None:
    """Publish that the amount is held."""
    held = FundsHeld(
        account_id=request.account_id,
        hold_id=request.hold_id,
        amount=money(request.amount, request.currency),
        cause_type=request.cause_type,
        cause_id=request.cause_id,
        payment_id=request.payment_id,
        counterparty_account_id=request.counterparty_account_id,
    )
    ctx.emit(held, causetype=request.cause_type)


def publish_refused(ctx: Context, request: HoldRequest, failure: Failure) -> None:
    """Publish that the amount cannot be held, and why."""
    refused = FundsRefused(
        account_id=request.account_id,
        amount=money(request.amount, request.currency),
        cause_type=request.cause_type,
        cause_id=request.cause_id,
        payment_id=request.payment_id,
        failure=failure,
    )
    ctx.emit(refused, causetype=request.cause_type)


def publish_again(ctx: Context, request: HoldRequest, hold: HoldDocument) -> None:
    """Publish again what was decided about the hold.

    A repeated request means that the payments domain has not processed the first answer. A released hold needs no
    answer, because its payment or refund has ended.
    """
    if hold["status"] in ("active", "captured"):
        publish_held(ctx, request)
    elif hold["status"] == "refused" and hold["failure"] is not None:
        publish_refused(ctx, request, Failure(**hold["failure"]))


def publish_released(ctx: Context, hold: HoldDocument, amount: int, reason: ReleaseReason) -> None:
    """Publish that `amount` minor units of a hold are released. The hold of a card payment is the issuer's: the
    extension attribute `via` sends the fact to the providers domain."""
    more = {"via": "rail"} if is_system_account(hold["account_id"]) else {}
    fact = FundsReleased(
        account_id=hold["account_id"],
        hold_id=hold["id"],
        amount=money(amount, hold["currency"]),
        cause_type=hold["cause_type"],
        cause_id=hold["cause_id"],
        reason=reason,
    )
    ctx.emit(fact, causetype=hold["cause_type"], **more)
