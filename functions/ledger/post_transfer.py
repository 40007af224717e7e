"""payment.capture_requested, refund.posting_requested, pix.charge_paid → ledger.transfer_posted | _refused."""

from __future__ import annotations

from typing import NamedTuple, assert_never

from events.charges import ChargePaid
from events.failure import Failure
from events.ledger import CauseType, PostedLeg, TransferPosted, TransferRefused
from events.payments.capture_requested import PaymentCaptureRequested
from events.refunds import RefundPostingRequested
from shared.context.context import Context
from shared.core.money import Money
from shared.core.problems import Problem
from shared.functions.decorators import event_function
from shared.ports.ledger import (
    Cause,
    LedgerRefused,
    Leg,
    RecordedTransfer,
    Refusal,
    Transfer,
    TransferMismatch,
)

LedgerOrder = PaymentCaptureRequested | RefundPostingRequested | ChargePaid
"""The facts that order a transfer."""


class _Order(NamedTuple):
    """The transfer to record, and the time until which it may be recorded (RFC 3339; None: at any time)."""

    cause_type: CauseType
    transfer: Transfer
    deadline: str | None


@event_function(PaymentCaptureRequested, RefundPostingRequested, ChargePaid)
async def post_transfer(event: LedgerOrder, ctx: Context) -> None:
    """Record the transfer that a payment, refund or deposit orders, exactly once, however often it is ordered."""
    order = _order_of(event, ctx)
    recorded = await _record(order, ctx)
    if isinstance(recorded, RecordedTransfer):
        _tell_posted(order, recorded, ctx)
    else:
        _tell_refused(order, recorded, ctx)


def _order_of(event: LedgerOrder, ctx: Context) -> _Order:
    if isinstance(event, PaymentCaptureRequested):
        return _Order(
            "payment",
            Transfer(
                tenant_id=ctx.tenant_id,
                id=event.transfer_id,
                cause=Cause("payment", event.payment_id),
                legs=_legs(event.payer_account_id, event.payee_account_id, event.capture_amount),
                payment_id=event.payment_id,
                description=event.description,
            ),
            event.deadline,
        )
    if isinstance(event, RefundPostingRequested):
        return _Order(
            "refund",
            Transfer(
                tenant_id=ctx.tenant_id,
                id=event.transfer_id,
                cause=Cause("refund", event.refund_id),
                legs=_legs(event.payer_account_id, event.payee_account_id, event.amount),
                payment_id=event.payment_id,
            ),
            event.deadline,
        )
    if isinstance(event, ChargePaid):
        # Money that a rail has received is recorded, however late the callback comes.
        return _Order(
            "deposit",
            Transfer(
                tenant_id=ctx.tenant_id,
                id=event.transfer_id,
                cause=Cause("deposit", event.deposit_id),
                legs=_legs(event.clearing_account_id, event.account_id, event.amount),
            ),
            None,
        )
    assert_never(event)


def _legs(debited: str, credited: str, amount: Money) -> tuple[Leg, Leg]:
    return (
        Leg(debited, "debit", amount.value, amount.currency),
        Leg(credited, "credit", amount.value, amount.currency),
    )


async def _record(order: _Order, ctx: Context) -> RecordedTransfer | Refusal:
    transfer = order.transfer
    if order.deadline is not None and ctx.now_text > order.deadline:
        return await _give_up(transfer, "deadline_passed: The time for recording the transfer was over.", ctx)
    try:
        return await ctx.ledger.append(transfer, ctx.now_text)
    except TransferMismatch as error:
        # Something is recorded under this id, so nobody may hear that nothing is: a person has to look.
        ctx.log.error("transfer %s: %s", transfer.id, error)  # noqa: TRY400 - the ledger's own words say it all
        raise Problem("validation_failed", f"The ledger has another transfer {transfer.id}.") from None
    except LedgerRefused as error:
        ctx.log.error("transfer %s: %s", transfer.id, error)  # noqa: TRY400 - as above
        return await _give_up(transfer, f"transfer_refused: {error}", ctx)


async def _give_up(transfer: Transfer, reason: str, ctx: Context) -> RecordedTransfer | Refusal:
    # Claiming the id makes it final: a late order under it finds the refusal and not an empty place. What another
    # order has recorded meanwhile stands, and is told instead.
    return await ctx.ledger.refuse(ctx.tenant_id, transfer.id, transfer.cause, reason, ctx.now_text)


def _tell_posted(order: _Order, recorded: RecordedTransfer, ctx: Context) -> None:
    posted = TransferPosted(
        transfer_id=recorded.id,
        cause_type=order.cause_type,
        cause_id=recorded.cause.id,
        legs=tuple(
            PostedLeg(
                leg=entry.leg,
                account_id=entry.account_id,
                direction=entry.direction,
                amount=entry.amount,
                currency=entry.currency,
                sequence=entry.sequence,
                balance_after=entry.balance_after,
            )
            for entry in recorded.entries
        ),
        recorded_at=recorded.recorded_at,
        payment_id=recorded.payment_id,
        description=recorded.description,
    )
    # One transfer, one fact, whichever order of it is answered: balances grow by it once.
    ctx.emit(posted, known_as=recorded.id, repeated=not recorded.first, causetype=order.cause_type)


def _tell_refused(order: _Order, refusal: Refusal, ctx: Context) -> None:
    code, _, detail = refusal.reason.partition(": ")
    refused = TransferRefused(
        transfer_id=refusal.id,
        cause_type=order.cause_type,
        cause_id=refusal.cause.id,
        failure=Failure(code=code, detail=detail),
    )
    ctx.emit(refused, causetype=order.cause_type)
