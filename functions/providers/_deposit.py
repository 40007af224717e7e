"""The fields that every fact about a deposit has, and the end of a deposit."""

from __future__ import annotations

from typing import Any, Unpack

from events.deposits import DepositEvent, DepositFailed
from events.failure import Failure
from shared.context import saga
from shared.context.context import Context
from shared.core.money import money
from shared.records.deposits import DEPOSITS, DepositChanges, DepositDocument, DepositStatus
from shared.records.failure import failure_document


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
    """Settle or fail the deposit, whose status allows it, and publish the fact."""
    changes["status"] = status
    changes["due_at"] = None
    changes["updated_at"] = ctx.now_text
    ctx.update(DEPOSITS, deposit, **changes)
    ctx.emit(fact)
    await saga.end(ctx, "deposit", deposit["id"])


async def end_as_failed(ctx: Context, deposit: DepositDocument, failure: Failure) -> None:
    """Fail the deposit, whose status allows it, with the failure in its document and in the fact."""
    fact = DepositFailed(**deposit_parts(deposit), failure=failure)
    await end_deposit(ctx, deposit, "failed", fact, failure=failure_document(failure.code, failure.detail))


def blocked_failure() -> Failure:
    """Return the failure of a deposit to an account that is blocked for credits."""
    return Failure(code="account_blocked", detail="The account is blocked for all movements.")
