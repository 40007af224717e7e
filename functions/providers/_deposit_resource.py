"""The deposit resource of the HTTP API."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from functions.providers._states import DEPOSIT_CHANGES
from shared.context.context import Context
from shared.core.money import Money, money
from shared.http.failures import FailureResource, failure_resource
from shared.http.models import CreatedAt, Resource, UpdatedAt
from shared.records.deposits import DEPOSITS, DepositDocument, DepositStatus


class Deposit(Resource):
    """Money that a payment provider collects for an account."""

    id: str = Field(description="The deposit's id, `dep_…`.")
    account_id: str = Field(description="The id of the account that receives the money.")
    amount: Money = Field(description="The amount to collect.")
    method: Literal["pix"] = Field(description="The rail that the money comes in by.")
    status: DepositStatus = Field(
        description="`created`: the provider is asked to collect the money. `settled`: the money is on the account. "
        "`failed`: it will not come (see `failure`)."
    )
    failure: FailureResource | None = Field(description="Why the deposit `failed`; null otherwise.")
    created_at: CreatedAt
    updated_at: UpdatedAt


def deposit_resource(deposit: DepositDocument) -> Deposit:
    """Return the resource of a deposit."""
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
    """Return the deposit as it is now, and whether it is settled or failed."""
    deposit = await ctx.required(DEPOSITS, last.id)
    return deposit_resource(deposit), not DEPOSIT_CHANGES[deposit["status"]]
