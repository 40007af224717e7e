"""The fields that every fact about a deposit has, and the end of a deposit."""

from __future__ import annotations

from typing import Any, Unpack

from events.deposits import DepositEvent
from functions.providers._states import DEPOSIT_CHANGES
from shared.context import saga
from shared.context.context import Context
from shared.core.money import money
from shared.core.problems import Problem
from shared.records.deposits import DEPOSITS, DepositChanges, DepositDocument, DepositStatus


def deposit_parts(deposit: DepositDocument) -> dict[str, Any]:
    """Return the fields that every fact about a deposit has (events.deposits.DepositEvent)."""
    return {
        "deposit_id": deposit["id"],
        "account_id": deposit["account_id"],
        "amount": money(deposit["amount"], deposit["currency"]),
    }


async def end_deposit(
    ctx: Context,
    deposit: DepositDocument,
    status: DepositStatus,
    fact: DepositEvent,
    /,
    **changes: Unpack[DepositChanges],
) -> None:
    """Settle or fail the deposit and publish the fact.

    Raises Problem `illegal_state` when the deposit has another terminal status.
    """
    if status not in DEPOSIT_CHANGES[deposit["status"]]:
        raise Problem("illegal_state", f"The deposit is {deposit['status']}; it cannot change to {status}.")
    changes["status"] = status
    changes["due_at"] = None
    changes["updated_at"] = ctx.now_text
    ctx.update(DEPOSITS, deposit, **changes)
    ctx.emit(fact)
    await saga.end(ctx, "deposit", deposit["id"])
