"""payment.created, refund.created, card.authorized, card.declined → account.funds_held | account.funds_refused."""

from __future__ import annotations

from typing import Final

from events.cards import CardAuthorized, CardDeclined
from events.failure import Failure
from events.payments.created import PaymentCreated
from events.refunds import RefundCreated
from functions.accounts._holds import (
    HoldRequest,
    hold_request,
    new_hold,
    publish_again,
    publish_held,
    publish_refused,
)
from functions.accounts._issuer import hold_at_issuer
from functions.accounts._usage import count_or_refuse
from shared.context.context import Context
from shared.core.money import MAX_MINOR_UNITS
from shared.functions.decorators import event_function
from shared.records.accounts import ACCOUNTS, CLOSED, HOLDS, AccountDocument, available
from shared.records.system_accounts import is_system_account
from shared.records.users import USERS

_ISSUERS_ANSWERS: Final = (CardAuthorized, CardDeclined)


@event_function(PaymentCreated, RefundCreated, CardAuthorized, CardDeclined)
async def hold_funds(event: PaymentCreated | RefundCreated | CardAuthorized | CardDeclined, ctx: Context) -> None:
    """Hold the amount of a payment or refund on its payer's account, or publish why it cannot be held.

    The amount of a card payment is held by the card's issuer. Its hold is stored when the issuer has answered.
    """
    if isinstance(event, _ISSUERS_ANSWERS):
        await hold_at_issuer(ctx, event)
        return
    request = hold_request(event, ctx)
    payer_id, payee_id = request.account_id, request.counterparty_account_id
    await ctx.load((HOLDS, request.hold_id), (ACCOUNTS, payer_id), (ACCOUNTS, payee_id))
    hold = await ctx.get(HOLDS, request.hold_id)
    if hold is not None:
        publish_again(ctx, request, hold)
        return
    account = await ctx.get(ACCOUNTS, payer_id)
    payee = await ctx.get(ACCOUNTS, payee_id)
    if account is None and is_system_account(payer_id):
        return  # A card payment: its issuer is asked first.
    failure = await _failure(ctx, request, account, payee)
    if failure is not None:
        ctx.insert(HOLDS, new_hold(ctx, request, "refused", amount=0, failure=failure))
        publish_refused(ctx, request, failure)
        return
    # The payer's account may change before the commit, which checks its floor and this condition again. The payee's may
    # begin to close: payments reads it again after this hold is committed (docs/decisions/0017).
    ctx.change(ACCOUNTS, request.account_id, ACCOUNTS.where(status="active"), held=request.amount)
    ctx.insert(HOLDS, new_hold(ctx, request, "active", amount=request.amount, limited=_is_limited(request, account)))
    publish_held(ctx, request)


async def _failure(
    ctx: Context, request: HoldRequest, account: AccountDocument | None, payee: AccountDocument | None
) -> Failure | None:
    """Return why the amount cannot be held, or None. A payment is then counted against the limits of the account."""
    failure = _refusal(request, account, payee)
    if failure is not None or account is None:
        return failure
    if request.cause_type == "payment":
        failure = await _owner_refusal(ctx, account)
    failure = failure or _shortage(request, account)
    if failure is None and _is_limited(request, account):
        failure = await count_or_refuse(ctx, account, request.amount)
    return failure


def _is_limited(request: HoldRequest, account: AccountDocument | None) -> bool:
    """Return whether the account has limits that the request is counted against. Refunds are not."""
    return account is not None and account.get("limits") is not None and request.cause_type == "payment"


def _refusal(request: HoldRequest, account: AccountDocument | None, payee: AccountDocument | None) -> Failure | None:
    # A refund is paid by the payee of its payment, so "the payer" would be the wrong party there.
    is_refund = request.cause_type == "refund"
    paying = "The account that the refund is paid from" if is_refund else "The payer's account"
    receiving = "The account that the refund is paid to" if is_refund else "The payee's account"
    if account is None or account["status"] in CLOSED:
        return Failure(code="account_closed", detail=f"{paying} is closed.")
    if payee is None:
        # The clearing account of a rail stands for the account outside.
        if not is_system_account(request.counterparty_account_id):
            return Failure(code="account_closed", detail=f"{receiving} is closed.")
    elif payee["status"] in CLOSED:
        return Failure(code="account_closed", detail=f"{receiving} is closed.")
    if account["status"] == "blocked":
        return Failure(code="account_blocked", detail=f"{paying} is blocked.")
    if payee is not None and payee["block_mode"] == "all":
        return Failure(code="account_blocked", detail=f"{receiving} takes no credits.")
    if account["currency"] != request.currency:
        return Failure(code="currency_mismatch", detail=f"{paying} has the currency {account['currency']}.")
    return None


def _shortage(request: HoldRequest, account: AccountDocument) -> Failure | None:
    """Return the failure when the account has less available than the amount."""
    # Balance and overdraft together may exceed 64 bits; the held amount must not.
    if available(account) >= request.amount and account["held"] + request.amount <= MAX_MINOR_UNITS:
        return None
    paying = "The payer's account" if request.cause_type == "payment" else "The account that the refund is paid from"
    return Failure(code="insufficient_funds", detail=f"{paying} has not enough available.")


async def _owner_refusal(ctx: Context, account: AccountDocument) -> Failure | None:
    """Return the failure when the owner of the paying account is suspended. Refunds are paid nevertheless."""
    owner = await ctx.get(USERS, account["owner_id"])
    if owner is not None and owner["status"] == "suspended":
        return Failure(code="user_suspended", detail="The owner of the payer's account is suspended.")
    return None
