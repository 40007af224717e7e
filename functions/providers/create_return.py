"""POST /v1/deposits/{deposit_id}/returns → pix.return_created."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from pydantic import Field

from functions.providers._return import created_fact
from functions.providers._return_resource import DepositReturn, return_progress, return_resource, visible_deposit
from shared.context import saga
from shared.context.context import Context
from shared.core.clock import parse_time
from shared.core.money import Amount
from shared.core.problems import Problem
from shared.functions.decorators import http_function
from shared.http.models import Command, Description
from shared.records.deposits import DEPOSITS, DepositDocument
from shared.records.returns import RETURN_PREFIX, RETURNS, ReturnDocument

RETURN_DAYS: Final = 90
"""For how many days after it was made a payment can be returned (Banco Central, API Pix)."""


class CreateReturn(Command):
    """A new return of a received payment, of all that is left or of a part."""

    amount: Amount | None = Field(
        default=None, description="The amount to return. Without it, all that is left of what was received."
    )
    reason: Description | None = Field(
        default=None, description="Why the money is returned. The payer's bank shows its first 140 characters."
    )


@http_function(
    "POST /v1/deposits/{deposit_id}/returns",
    scope="deposits:write",
    status=201,
    location="/v1/returns/{result.id}",
    empty_body_is_object=True,
    progress=return_progress,
    problems=("illegal_state", "amount_exceeds_refundable", "currency_mismatch"),
)
async def create_return(deposit_id: str, command: CreateReturn, ctx: Context) -> DepositReturn:
    """Return a received payment to its payer.

    The deposit must be `settled`, and its payment at most 90 days old. It can be returned in parts, until all of it is
    returned. The amount is held on the account, and leaves it when the provider has returned the money.
    """
    deposit = await visible_deposit(ctx, deposit_id)
    if deposit["status"] != "settled" or deposit["end_to_end_id"] is None:
        raise Problem("illegal_state", f"A deposit that is {deposit['status']} cannot be returned.")
    paid_at = deposit.get("paid_at") or deposit["created_at"]
    if ctx.now > parse_time(paid_at) + timedelta(days=RETURN_DAYS):
        raise Problem("illegal_state", f"A payment can be returned for {RETURN_DAYS} days; this one is older.")
    amount = _amount(command, deposit)
    document = await _new_return(ctx, deposit, amount, command.reason)
    ctx.insert(RETURNS, document)
    # The deposit counts the amount at once: two concurrent returns cannot exceed what was received together.
    ctx.update(DEPOSITS, deposit, amount_returning=deposit.get("amount_returning", 0) + amount)
    ctx.emit(created_fact(document, attempt=1))
    return return_resource(document)


def _amount(command: CreateReturn, deposit: DepositDocument) -> int:
    if command.amount is not None and command.amount.currency != deposit["currency"]:
        raise Problem.at("currency_mismatch", "/amount/currency", f"The deposit is in {deposit['currency']}.")
    left = deposit["amount"] - deposit.get("amount_returned", 0) - deposit.get("amount_returning", 0)
    amount = left if command.amount is None else command.amount.value
    if amount > left or left == 0:
        raise Problem.at("amount_exceeds_refundable", "/amount/value", f"{left} can be returned.")
    return amount


async def _new_return(ctx: Context, deposit: DepositDocument, amount: int, reason: str | None) -> ReturnDocument:
    return_id = ctx.new_id(RETURN_PREFIX)
    assert deposit["end_to_end_id"] is not None, "the caller has checked it"
    return {
        "id": return_id,
        "tenant_id": ctx.tenant_id,
        "version": 1,
        "status": "created",
        "nature": "requested",
        "deposit_id": deposit["id"],
        "account_id": deposit["account_id"],
        "amount": amount,
        "currency": deposit["currency"],
        "reason": reason,
        "end_to_end_id": deposit["end_to_end_id"],
        "rail_id": None,
        "confirmed_at": None,
        "transfer_id": ctx.derived_id("ltr", return_id, "return"),
        "failure": None,
        "correlation_id": ctx.origin.correlation_id,
        "attempt": 1,
        "due_at": await saga.begin(ctx, "return", return_id),
        "created_at": ctx.now_text,
        "updated_at": ctx.now_text,
    }
