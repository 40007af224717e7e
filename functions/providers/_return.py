"""Returns of received payments: their facts, and what the provider's answers do to them."""

from __future__ import annotations

from typing import Any, Final

from events.failure import Failure
from events.returns import ReturnConfirmed, ReturnCreated, ReturnFailed, ReturnSettled
from functions.providers._return_states import return_is_final
from shared.context import saga
from shared.context.context import Context
from shared.core.money import money
from shared.ports.rail import ReturnState
from shared.records.deposits import DEPOSITS, DepositChanges
from shared.records.failure import failure_document
from shared.records.returns import RETURNS, ReturnDocument
from shared.records.system_accounts import clearing_account

PROVIDER: Final = "pix"


def return_parts(document: ReturnDocument) -> dict[str, Any]:
    """Return the fields that every fact about a return has (events.returns.ReturnEvent)."""
    return {
        "return_id": document["id"],
        "deposit_id": document["deposit_id"],
        "account_id": document["account_id"],
        "amount": money(document["amount"], document["currency"]),
        "clearing_account_id": clearing_account(PROVIDER, document["currency"]),
    }


def created_fact(document: ReturnDocument, attempt: int) -> ReturnCreated:
    """Return the fact that requests the hold from accounts. Each attempt publishes it again."""
    return ReturnCreated(**return_parts(document), nature=document["nature"], attempt=attempt)


def confirmed_fact(document: ReturnDocument) -> ReturnConfirmed:
    """Return the fact that requests the transfer from the ledger; each attempt publishes it with the same id."""
    return ReturnConfirmed(**return_parts(document), transfer_id=document["transfer_id"])


async def take_state(ctx: Context, document: ReturnDocument, state: ReturnState) -> None:
    """Note what the provider says of a return. What it has said before changes nothing."""
    if return_is_final(document) or document["confirmed_at"] is not None:
        if state.status == "refused" and document["status"] != "failed":
            ctx.log.error("the provider refuses the return %s that it has confirmed before", document["id"])
        if state.status == "returned" and document["status"] == "failed":
            ctx.log.error("the provider confirms the return %s that it has refused before", document["id"])
        return
    if state.status == "refused":
        detail = state.reason or "The provider did not return the money."
        await end_as_failed(ctx, document, Failure(code="provider_refused", detail=detail))
    elif state.status == "returned":
        due_at = await saga.begin(ctx, "return", document["id"], document["attempt"])
        confirmed = ctx.update(
            RETURNS,
            document,
            status="processing",
            rail_id=state.rail_id,
            confirmed_at=ctx.now_text,
            due_at=due_at,
            updated_at=ctx.now_text,
        )
        ctx.emit(confirmed_fact(confirmed))
    elif document["status"] == "created":
        due_at = await saga.begin(ctx, "return", document["id"], document["attempt"])
        ctx.update(RETURNS, document, status="processing", due_at=due_at, updated_at=ctx.now_text)


async def end_as_failed(ctx: Context, document: ReturnDocument, failure: Failure) -> None:
    """Fail the return, whose status allows it. Its amount may be returned again."""
    stored = failure_document(failure.code, failure.detail)
    await _count(ctx, document, returned=0)
    ctx.update(RETURNS, document, status="failed", failure=stored, due_at=None, updated_at=ctx.now_text)
    ctx.emit(ReturnFailed(**return_parts(document), failure=failure))
    await saga.end(ctx, "return", document["id"])


async def end_as_settled(ctx: Context, document: ReturnDocument) -> None:
    """Settle the return, whose status allows it."""
    await _count(ctx, document, returned=document["amount"])
    ctx.update(RETURNS, document, status="settled", due_at=None, updated_at=ctx.now_text)
    ctx.emit(ReturnSettled(**return_parts(document), transfer_id=document["transfer_id"]))
    await saga.end(ctx, "return", document["id"])


async def _count(ctx: Context, document: ReturnDocument, *, returned: int) -> None:
    """Take the amount from what the deposit is returning, and add what was returned."""
    deposit = await ctx.get(DEPOSITS, document["deposit_id"])
    assert deposit is not None, "a return was made of a deposit"
    amounts: DepositChanges = {
        "amount_returning": deposit.get("amount_returning", 0) - document["amount"],
        "amount_returned": deposit.get("amount_returned", 0) + returned,
    }
    ctx.update(DEPOSITS, deposit, **amounts)
