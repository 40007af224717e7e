"""A deposit as it is answered."""

from __future__ import annotations

from typing import Literal

from functions.providers._states import DEPOSIT_CHANGES
from shared.context.context import Context
from shared.core.money import Money, money
from shared.http.failures import FailureResource, failure_resource
from shared.http.models import Resource
from shared.records.deposits import DEPOSITS, DepositDocument, DepositStatus


class Deposit(Resource):
    """A deposit."""

    id: str
    account_id: str
    amount: Money
    method: Literal["pix"]
    status: DepositStatus
    failure: FailureResource | None
    created_at: str
    updated_at: str


def deposit_resource(deposit: DepositDocument) -> Deposit:
    """The deposit as it is answered."""
    return Deposit(
        id=deposit["id"],
        account_id=deposit["account_id"],
        amount=money(deposit["amount"], deposit["currency"]),
        method=deposit["method"],
        status=deposit["status"],
        failure=failure_resource(deposit["failure"]),
        created_at=deposit["created_at"],
        updated_at=deposit["updated_at"],
    )


async def deposit_progress(ctx: Context, last: Deposit) -> tuple[Deposit, bool]:
    """The deposit now, and whether it has ended."""
    deposit = await ctx.required(DEPOSITS, last.id)
    return deposit_resource(deposit), not DEPOSIT_CHANGES[deposit["status"]]
