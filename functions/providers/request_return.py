"""The facts after which a return is requested from the provider."""

from __future__ import annotations

from events.failure import Failure
from events.fraud_reports import FraudReportAccepted
from events.holds import FundsHeld
from events.returns import ReturnCreated
from events.sweeps import SagaOverdue
from functions.providers._fraud_hold import note_hold
from functions.providers._return import (
    PROVIDER,
    confirmed_fact,
    created_fact,
    end_as_failed,
    take_state,
)
from functions.providers._return_states import return_is_final
from shared.context import saga
from shared.context.context import Context
from shared.functions.decorators import event_function
from shared.ports.rail import RailRefused, ReturnOrder, ReturnState
from shared.records.returns import RETURNS, ReturnDocument, provider_reference
from shared.records.system_accounts import is_system_account


@event_function(FundsHeld, ReturnCreated, FraudReportAccepted, SagaOverdue)
async def request_return(event: FundsHeld | ReturnCreated | FraudReportAccepted | SagaOverdue, ctx: Context) -> None:
    """Request a return from the provider after its amount is held. A repeated request has no further effect.

    If the provider does not answer, the outcome is unknown: Problem `dependency_unavailable` (503) has the event
    delivered again. A return from the suspense account has no hold, and is requested at once. A return because of a
    fraud waits for the decision on its report first. An overdue return that waits for its hold asks for that again; one
    that waits for the provider asks for its state first.
    """
    if isinstance(event, SagaOverdue):
        if event.saga_type == "return":
            await _drive(ctx, await ctx.referenced(RETURNS, event.saga_id, "/saga_id"), event)
        return
    if isinstance(event, FraudReportAccepted):
        document = await ctx.referenced(RETURNS, event.return_id, "/return_id")
        if document["status"] == "processing" and document["confirmed_at"] is None:
            await _request(ctx, document)
        return
    if isinstance(event, FundsHeld):
        if event.cause_type != "return":
            return
        document = await ctx.referenced(RETURNS, event.cause_id, "/cause_id")
    else:
        if not is_system_account(event.account_id):
            return
        document = await ctx.referenced(RETURNS, event.return_id, "/return_id")
    if document["status"] != "created":
        return
    if document["nature"] == "fraud":
        await note_hold(ctx, document, event.amount.value)
    else:
        await _request(ctx, document)


async def _drive(ctx: Context, document: ReturnDocument, event: SagaOverdue) -> None:
    """Make the next attempt of the step that the return waits for, and set a new deadline."""
    if (
        return_is_final(document)
        or document["status"] == "held"
        or (document["status"], document["attempt"]) != (event.step, event.attempt)
    ):
        return
    attempt = document["attempt"] + 1
    due_at = await saga.begin(ctx, "return", document["id"], attempt)
    document = ctx.update(RETURNS, document, attempt=attempt, due_at=due_at, updated_at=ctx.now_text)
    if document["confirmed_at"] is not None:
        ctx.emit(confirmed_fact(document))
    elif document["status"] == "created" and (
        document["nature"] == "fraud" or not is_system_account(document["account_id"])
    ):
        ctx.emit(created_fact(document, attempt))
    else:
        state = await ctx.rails[PROVIDER].return_state(document["end_to_end_id"], provider_reference(document["id"]))
        if state is None:
            await _request(ctx, document)
        else:
            await take_state(ctx, document, state)


async def _request(ctx: Context, document: ReturnDocument) -> None:
    """Send the command. The provider knows the return by its id, so a repeated command returns the money once."""
    order = ReturnOrder(
        document["end_to_end_id"],
        provider_reference(document["id"]),
        document["amount"],
        document["reason"],
        document["nature"] == "fraud",
    )
    try:
        state: ReturnState = await ctx.rails[PROVIDER].request_return(order)
    except RailRefused as refusal:
        ctx.log.warning("the rail refused the return %s: %s", document["id"], refusal.code)
        await end_as_failed(ctx, document, Failure(code="provider_refused", detail=f"{refusal.code}: {refusal}"))
        return
    await take_state(ctx, document, state)
