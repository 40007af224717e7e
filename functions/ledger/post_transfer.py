"""Facts that request a transfer → ledger.transfer_posted | ledger.transfer_refused."""

from __future__ import annotations

from typing import NamedTuple, assert_never

from events.cards import CardRefundPaid
from events.charges import ChargePaid, PaymentUnmatched
from events.failure import Failure
from events.ledger import CauseType, PostedLeg, TransferPosted, TransferRefused
from events.payments.capture_requested import PaymentCaptureRequested
from events.payments.posting_requested import PaymentPostingRequested
from events.refunds import RefundPostingRequested
from events.returns import ReturnConfirmed
from shared.context.context import Context
from shared.core.money import Money, money
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
from shared.records.system_accounts import is_system_account, system_account

TransferRequest = (
    PaymentCaptureRequested
    | PaymentPostingRequested
    | RefundPostingRequested
    | CardRefundPaid
    | ChargePaid
    | PaymentUnmatched
    | ReturnConfirmed
)
"""The facts that request a transfer."""


class _Request(NamedTuple):
    """A requested transfer. It may be recorded until `deadline` (RFC 3339); None means at any time."""

    cause_type: CauseType
    transfer: Transfer
    deadline: str | None


@event_function(
    PaymentCaptureRequested,
    PaymentPostingRequested,
    RefundPostingRequested,
    CardRefundPaid,
    ChargePaid,
    PaymentUnmatched,
    ReturnConfirmed,
)
async def post_transfer(event: TransferRequest, ctx: Context) -> None:
    """Record the transfer of a payment, refund, deposit or return exactly once, however often it is requested.

    Publishes `ledger.transfer_posted`, or `ledger.transfer_refused` when the transfer will never be recorded. Raises
    Problem `validation_failed` when the ledger has a different transfer with the same id.
    """
    request = _request_of(event, ctx)
    recorded = await _record(request, ctx)
    if isinstance(recorded, RecordedTransfer):
        _publish_posted(request, recorded, ctx)
    else:
        _publish_refused(request, recorded, ctx)


def _request_of(event: TransferRequest, ctx: Context) -> _Request:
    """Return the transfer of a fact. Only what is still to be moved has a deadline: money that has moved at a provider
    is recorded, however late the fact comes."""
    if isinstance(event, PaymentCaptureRequested):
        legs = _legs(event.payer_account_id, event.payee_account_id, event.capture_amount)
        transfer = _transfer(event, ctx, "payment", event.payment_id, legs, event.payment_id, event.description)
        return _Request("payment", transfer, event.deadline)
    if isinstance(event, PaymentPostingRequested):
        legs = _rail_legs(event)
        transfer = _transfer(event, ctx, "payment", event.payment_id, legs, event.payment_id, event.description)
        return _Request("payment", transfer, None)
    if isinstance(event, RefundPostingRequested):
        transfer = _transfer(event, ctx, "refund", event.refund_id, _refund_legs(event), event.payment_id)
        return _Request("refund", transfer, event.deadline)
    if isinstance(event, CardRefundPaid):
        legs = _legs(event.account_id, event.clearing_account_id, event.amount)
        return _Request("refund", _transfer(event, ctx, "refund", event.refund_id, legs, event.payment_id), None)
    if isinstance(event, ChargePaid | PaymentUnmatched):
        legs = _legs(event.clearing_account_id, event.account_id, event.amount)
        return _Request("deposit", _transfer(event, ctx, "deposit", event.deposit_id, legs), None)
    if isinstance(event, ReturnConfirmed):
        legs = _legs(event.account_id, event.clearing_account_id, event.amount)
        return _Request("return", _transfer(event, ctx, "return", event.return_id, legs), None)
    assert_never(event)


def _transfer(
    event: TransferRequest,
    ctx: Context,
    cause_type: CauseType,
    cause_id: str,
    legs: tuple[Leg, ...],
    payment_id: str | None = None,
    description: str | None = None,
) -> Transfer:
    return Transfer(ctx.tenant_id, event.transfer_id, Cause(cause_type, cause_id), legs, payment_id, description)


def _legs(debited: str, credited: str, amount: Money) -> tuple[Leg, ...]:
    return (
        Leg(debited, "debit", amount.value, amount.currency),
        Leg(credited, "credit", amount.value, amount.currency),
    )


def _rail_legs(event: PaymentPostingRequested) -> tuple[Leg, ...]:
    """Return the legs of a payment over a rail: the clearing account has what the provider has moved.

    Where the account of the tenant's user has another amount, the suspense account has the difference.
    """
    captured, moved, payee = event.amount_captured, event.amount_moved, event.payee_account_id
    if captured == moved:
        return _legs(event.payer_account_id, payee, moved)
    is_out = is_system_account(payee)
    debited, credited = (captured, moved) if is_out else (moved, captured)
    excess = debited.value - credited.value
    suspense = system_account("suspense", moved.currency)
    return (
        Leg(event.payer_account_id, "debit", debited.value, debited.currency),
        Leg(payee, "credit", credited.value, credited.currency),
        Leg(suspense, "credit" if excess > 0 else "debit", abs(excess), moved.currency),
    )


def _refund_legs(event: RefundPostingRequested) -> tuple[Leg, ...]:
    """Return the legs of a refund. What has come back in addition to its amount is the suspense account's."""
    amount, excess, payee = event.amount, event.excess, event.payee_account_id
    if excess is None:
        return _legs(event.payer_account_id, payee, amount)
    back = money(amount.value + excess.value, amount.currency)
    suspense = system_account("suspense", amount.currency)
    if payee == suspense:
        return _legs(event.payer_account_id, suspense, back)
    return (
        Leg(event.payer_account_id, "debit", back.value, back.currency),
        Leg(payee, "credit", amount.value, amount.currency),
        Leg(suspense, "credit", excess.value, excess.currency),
    )


async def _record(request: _Request, ctx: Context) -> RecordedTransfer | Refusal:
    transfer = request.transfer
    if request.deadline is not None and ctx.now_text > request.deadline:
        return await _refuse(transfer, "deadline_passed: The deadline for recording the transfer has passed.", ctx)
    try:
        return await ctx.ledger.append(transfer, ctx.now_text)
    except TransferMismatch as error:
        # A transfer is recorded under this id, so a refusal must not be published. The event becomes a dead letter,
        # which an operator has to examine.
        ctx.log.error("transfer %s: %s", transfer.id, error)  # noqa: TRY400 - the text of the ledger's error is enough
        raise Problem("validation_failed", f"The ledger has another transfer {transfer.id}.") from None
    except LedgerRefused as error:
        ctx.log.error("transfer %s: %s", transfer.id, error)  # noqa: TRY400 - as above
        return await _refuse(transfer, f"transfer_refused: {error}", ctx)


async def _refuse(transfer: Transfer, reason: str, ctx: Context) -> RecordedTransfer | Refusal:
    # The ledger stores the refusal under the transfer's id, so that a late request finds it and records nothing. If
    # another request has recorded the transfer meanwhile, the ledger returns that transfer and it is published.
    return await ctx.ledger.refuse(ctx.tenant_id, transfer.id, transfer.cause, reason, ctx.now_text)


def _publish_posted(request: _Request, recorded: RecordedTransfer, ctx: Context) -> None:
    posted = TransferPosted(
        transfer_id=recorded.id,
        cause_type=request.cause_type,
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
                recorded_at=None if entry.recorded_at == recorded.recorded_at else entry.recorded_at,
            )
            for entry in recorded.entries
        ),
        recorded_at=recorded.recorded_at,
        payment_id=recorded.payment_id,
        description=recorded.description,
    )
    # The event key is the transfer's id: however often the transfer is requested, its fact has one id and accounts
    # apply it once.
    ctx.emit(posted, event_key=recorded.id, causetype=request.cause_type)


def _publish_refused(request: _Request, refusal: Refusal, ctx: Context) -> None:
    code, _, detail = refusal.reason.partition(": ")
    refused = TransferRefused(
        transfer_id=refusal.id,
        cause_type=request.cause_type,
        cause_id=refusal.cause.id,
        failure=Failure(code=code, detail=detail),
    )
    ctx.emit(refused, causetype=request.cause_type)
