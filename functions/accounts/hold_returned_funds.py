"""pix.return_created → account.funds_held | account.funds_refused."""

from __future__ import annotations

from events.failure import Failure
from events.returns import ReturnCreated
from functions.accounts._holds import HoldRequest, new_hold, publish_held, publish_refused, return_hold_request
from shared.context.context import Context
from shared.core.money import MAX_MINOR_UNITS
from shared.functions.decorators import event_function
from shared.records.accounts import ACCOUNTS, CLOSED, HOLDS, AccountDocument, available
from shared.records.system_accounts import is_system_account


@event_function(ReturnCreated)
async def hold_returned_funds(event: ReturnCreated, ctx: Context) -> None:
    """Hold the amount of a return on the account that received the payment, or publish why it cannot be held.

    Because of a fraud, as much of the amount is held as the account has, also while it is blocked; its overdraft is not
    used for that. A payment in the suspense account needs no hold: nothing else is paid from there. A repeated request
    is answered with the same fact.
    """
    if is_system_account(event.account_id):
        return
    request = return_hold_request(event, ctx)
    hold = await ctx.get(HOLDS, request.hold_id)
    if hold is not None:
        if hold["status"] in ("active", "captured"):
            publish_held(ctx, request._replace(amount=hold["amount"]))
        elif hold["status"] == "refused" and hold["failure"] is not None:
            publish_refused(ctx, request, Failure(**hold["failure"]))
        return
    account = await ctx.get(ACCOUNTS, request.account_id)
    if event.nature == "fraud" and account is not None and account["status"] != "closed":
        await _hold_what_is_there(ctx, request, account)
        return
    failure = _refusal(request, account)
    if failure is not None:
        ctx.insert(HOLDS, new_hold(ctx, request, "refused", amount=0, failure=failure))
        publish_refused(ctx, request, failure)
        return
    # The account may change before the commit, which checks its floor and this condition again.
    ctx.change(ACCOUNTS, request.account_id, ACCOUNTS.where(status="active"), held=request.amount)
    ctx.insert(HOLDS, new_hold(ctx, request, "active", amount=request.amount))
    publish_held(ctx, request)


async def _hold_what_is_there(ctx: Context, request: HoldRequest, account: AccountDocument) -> None:
    """Hold the amount, or as much of it as the account has."""
    amount = min(request.amount, account["posted"] - account["held"], MAX_MINOR_UNITS - account["held"])
    if amount <= 0:
        failure = Failure(code="insufficient_funds", detail="The account that received the payment has nothing left.")
        ctx.insert(HOLDS, new_hold(ctx, request, "refused", amount=0, failure=failure))
        publish_refused(ctx, request, failure)
        return
    # A closing needs an account without holds, so it must not have happened since the account was read.
    ctx.change(ACCOUNTS, request.account_id, ACCOUNTS.where(status=account["status"]), held=amount)
    ctx.insert(HOLDS, new_hold(ctx, request, "active", amount=amount))
    publish_held(ctx, request._replace(amount=amount))


def _refusal(request: HoldRequest, account: AccountDocument | None) -> Failure | None:
    """Return why the account cannot give the amount back, or None. Its owner may be suspended, as with refunds."""
    if account is None or account["status"] in CLOSED:
        return Failure(code="account_closed", detail="The account that received the payment is closed.")
    if account["status"] == "blocked":
        return Failure(code="account_blocked", detail="The account that received the payment is blocked.")
    if available(account) < request.amount or account["held"] + request.amount > MAX_MINOR_UNITS:
        detail = "The account that received the payment has not enough available."
        return Failure(code="insufficient_funds", detail=detail)
    return None
