"""The return resource of the HTTP API."""

from __future__ import annotations

from pydantic import Field

from functions.providers._return_states import return_is_final
from shared.context.context import Context
from shared.context.persons import owns_one_of, person_of
from shared.core.money import Money, money
from shared.core.problems import Problem
from shared.http.failures import FailureResource, failure_resource
from shared.http.models import CreatedAt, Resource, UpdatedAt
from shared.records.deposits import DEPOSITS, DepositDocument
from shared.records.returns import RETURNS, ReturnDocument, ReturnNature, ReturnStatus


class DepositReturn(Resource):
    """A return of a received payment, or of a part of it, to its payer."""

    id: str = Field(description="The return's id, `ret_…`.")
    deposit_id: str = Field(description="The id of the deposit whose payment is returned.")
    account_id: str = Field(description="The id of the account that the money is taken from.")
    amount: Money = Field(description="The amount that goes back to the payer.")
    status: ReturnStatus = Field(
        description="`created`: accepted, the amount is not held yet. `held`: it waits for your decision on a report "
        "of fraud. `processing`: the provider has the command. "
        "`settled`: the money is back at the payer's bank. `failed`: it is not, and will not be (see `failure`)."
    )
    nature: ReturnNature = Field(
        description="`requested`: you have requested it. `fraud`: it belongs to a report of fraud."
    )
    reason: str | None = Field(description="The caller's reason, which the payer sees, or null.")
    rail_id: str | None = Field(description="The id of the return on the PIX rail (RtrId); null until it is reported.")
    failure: FailureResource | None = Field(description="Why the return `failed`; null otherwise.")
    created_at: CreatedAt
    updated_at: UpdatedAt


def return_resource(document: ReturnDocument) -> DepositReturn:
    """Return the resource of a return."""
    return DepositReturn(
        id=document["id"],
        deposit_id=document["deposit_id"],
        account_id=document["account_id"],
        amount=money(document["amount"], document["currency"]),
        status=document["status"],
        nature=document["nature"],
        reason=document["reason"],
        rail_id=document["rail_id"],
        failure=failure_resource(document["failure"]),
        created_at=document["created_at"],
        updated_at=document["updated_at"],
    )


async def return_progress(ctx: Context, last: DepositReturn) -> tuple[DepositReturn, bool]:
    """Return the return as it is now, and whether it is settled or failed."""
    document = await ctx.required(RETURNS, last.id)
    return return_resource(document), return_is_final(document)


async def visible_deposit(ctx: Context, deposit_id: str) -> DepositDocument:
    """Return the deposit in the path. Raises Problem `not_found`, also when it is to another person's account."""
    deposit = await ctx.required(DEPOSITS, deposit_id)
    await require_own_account(ctx, deposit["account_id"], deposit_id)
    return deposit


async def require_own_account(ctx: Context, account_id: str, id: str) -> None:
    """Raise Problem `not_found` for `id` when the caller is a person and the account is not the person's."""
    person = person_of(ctx)
    if person is not None and not await owns_one_of(ctx, person, account_id):
        raise Problem("not_found", f"There is no {id}.")
