"""A deposit as it is answered, as its facts tell of it, and how it ends."""

from __future__ import annotations

from typing import Any, Final, Literal

from events.charges import ChargePaid
from events.deposits import DepositEvent
from shared import saga
from shared.context import Context
from shared.ledger import clearing_account
from shared.models import Resource
from shared.money import Money, money
from shared.problems import Problem
from shared.records import DEPOSITS, DepositDocument, DepositStatus

DEPOSIT_CHANGES: Final[dict[DepositStatus, frozenset[DepositStatus]]] = {
    "created": frozenset({"settled", "failed"}),
    "settled": frozenset(),
    "failed": frozenset(),
}


class FailureResource(Resource):
    """Why it came to nothing."""

    code: str
    detail: str


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
    failure = deposit["failure"]
    return Deposit(
        id=deposit["id"],
        account_id=deposit["account_id"],
        amount=money(deposit["amount"], deposit["currency"]),
        method=deposit["method"],
        status=deposit["status"],
        failure=None if failure is None else FailureResource(code=failure["code"], detail=failure["detail"]),
        created_at=deposit["created_at"],
        updated_at=deposit["updated_at"],
    )


async def deposit_progress(ctx: Context, last: Deposit) -> tuple[Deposit, bool]:
    """The deposit now, and whether it has ended."""
    deposit = await ctx.required(DEPOSITS, last.id)
    return deposit_resource(deposit), not DEPOSIT_CHANGES[deposit["status"]]


def deposit_parts(deposit: DepositDocument) -> dict[str, Any]:
    """What every fact about the deposit says (fields of events.deposits.DepositEvent)."""
    return {
        "deposit_id": deposit["id"],
        "account_id": deposit["account_id"],
        "amount": money(deposit["amount"], deposit["currency"]),
    }


def charge_paid_fact(deposit: DepositDocument, end_to_end_id: str) -> ChargePaid:
    """Asks the ledger to move the money in from the rail's clearing account."""
    return ChargePaid(
        **deposit_parts(deposit),
        charge_id=deposit["txid"],
        end_to_end_id=end_to_end_id,
        transfer_id=deposit["transfer_id"],
        clearing_account_id=clearing_account(deposit["method"], deposit["currency"]),
    )


async def end_deposit(
    ctx: Context, deposit: DepositDocument, status: DepositStatus, fact: DepositEvent, **changes: object
) -> None:
    """Settle or fail the deposit and tell of it. Raises Problem `illegal_state` when it has ended otherwise."""
    if status not in DEPOSIT_CHANGES[deposit["status"]]:
        raise Problem("illegal_state", f"A deposit that is {deposit['status']} does not become {status}.")
    ctx.update(DEPOSITS, deposit, status=status, due_at=None, updated_at=ctx.now_text, **changes)
    ctx.emit(fact)
    await saga.end(ctx, "deposit", deposit["id"])
