"""payment.created, refund.created → account.funds_held | account.funds_refused."""

from __future__ import annotations

from events.failure import Failure
from events.payments.created import PaymentCreated
from events.refunds import RefundCreated
from functions.accounts._holds import HoldWish, new_hold, tell_held, tell_refused, wish_of
from shared.context.context import Context
from shared.core.money import MAX_MINOR_UNITS
from shared.functions.decorators import event_function
from shared.records.accounts import ACCOUNTS, CLOSED, HOLDS, AccountDocument, HoldDocument, available


@event_function(PaymentCreated, RefundCreated)
async def hold_funds(event: PaymentCreated | RefundCreated, ctx: Context) -> None:
    """Set the amount of a payment or refund aside on its payer's account, or say why that cannot be."""
    wish = wish_of(event, ctx)
    known = await ctx.get(HOLDS, wish.hold_id)
    if known is not None:
        _answer_again(ctx, wish, known)
        return
    account = await ctx.get(ACCOUNTS, wish.account_id)
    payee = await ctx.get(ACCOUNTS, wish.counterparty_account_id)
    failure = _refusal(wish, account, payee)
    if failure is not None:
        ctx.insert(HOLDS, new_hold(ctx, wish, "refused", amount=0, failure=failure))
        tell_refused(ctx, wish, failure)
        return
    # The documents may change before the commit. There the payer's floor and this condition decide, and the commit is
    # refused when the payee's account has been closed meanwhile.
    if payee is not None:
        ctx.expect(ACCOUNTS, payee)
    ctx.change(ACCOUNTS, wish.account_id, ACCOUNTS.where(status="active"), held=wish.amount)
    ctx.insert(HOLDS, new_hold(ctx, wish, "active", amount=wish.amount))
    tell_held(ctx, wish)


def _refusal(wish: HoldWish, account: AccountDocument | None, payee: AccountDocument | None) -> Failure | None:
    if account is None or account["status"] in CLOSED:
        return Failure(code="account_closed", detail="The payer's account is closed.")
    if payee is None or payee["status"] in CLOSED:
        return Failure(code="account_closed", detail="The payee's account is closed.")
    if account["status"] == "blocked":
        return Failure(code="account_blocked", detail="The payer's account is blocked.")
    if payee["block_mode"] == "all":
        return Failure(code="account_blocked", detail="The payee's account takes no credits.")
    if account["currency"] != wish.currency:
        return Failure(code="currency_mismatch", detail=f"The payer's account is kept in {account['currency']}.")
    # Balance and overdraft together may exceed 64 bits; what is held of them must not.
    if available(account) < wish.amount or account["held"] + wish.amount > MAX_MINOR_UNITS:
        return Failure(code="insufficient_funds", detail="The payer's account has not enough available.")
    return None


def _answer_again(ctx: Context, wish: HoldWish, hold: HoldDocument) -> None:
    # A repeated wish means that somebody still waits: the answer that was given once is published anew. A released
    # hold has no answer left to give, for its payment or refund has ended.
    if hold["status"] in ("active", "captured"):
        tell_held(ctx, wish)
    elif hold["status"] == "refused" and hold["failure"] is not None:
        tell_refused(ctx, wish, Failure(**hold["failure"]))
