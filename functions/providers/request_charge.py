"""deposit.created, saga.overdue of a deposit: request its charge from the provider."""

from __future__ import annotations

from events.deposits import DepositCreated
from events.failure import Failure
from events.sweeps import SagaOverdue
from functions.providers._charge_owner import remember_charge
from functions.providers._deposit import blocked_failure, end_as_failed
from functions.providers._received import received_again
from shared.context import saga
from shared.context.context import Context
from shared.context.tenant_work import run_in_tenant_unit_of_work
from shared.functions.decorators import event_function
from shared.ports.documents import PLATFORM
from shared.ports.rail import RailRefused
from shared.records.accounts import ACCOUNTS, CLOSED
from shared.records.deposits import DEPOSITS, DepositDocument


@event_function(DepositCreated, SagaOverdue)
async def request_charge(event: DepositCreated | SagaOverdue, ctx: Context) -> None:
    """Request the deposit's charge from its rail. A repeated request has no further effect.

    If the rail does not answer, the outcome is unknown: Problem `dependency_unavailable` (503) has the event delivered
    again. The deposit fails when the rail or the account refuses it.
    """
    if isinstance(event, DepositCreated):
        deposit = await ctx.referenced(DEPOSITS, event.deposit_id, "/deposit_id")
        overdue = False
    elif event.saga_type == "deposit":
        deposit = await ctx.referenced(DEPOSITS, event.saga_id, "/saga_id")
        overdue = True
        if deposit["attempt"] != event.attempt:
            return
    else:
        return
    if deposit["status"] != "created":
        return
    if deposit["end_to_end_id"] is None:
        refusal = await _account_refusal(ctx, deposit) or await _charge(ctx, deposit)
        if refusal is not None:
            await end_as_failed(ctx, deposit, refusal)
            return
    if overdue:
        await _next_attempt(ctx, deposit)


async def _account_refusal(ctx: Context, deposit: DepositDocument) -> Failure | None:
    """Return why the account cannot receive money, or None. An account that is blocked only for debits can.

    Called when the deposit is committed. So either a closing finds the deposit and waits, or the account is found
    closing here (docs/decisions/0017).
    """
    account = await ctx.referenced(ACCOUNTS, deposit["account_id"], "/account_id")
    if account["status"] in CLOSED:
        return Failure(code="account_closed", detail="The account is closed.")
    if account["block_mode"] == "all":
        return blocked_failure()
    return None


async def _charge(ctx: Context, deposit: DepositDocument) -> Failure | None:
    """Request the charge from the rail. Returns the failure if the rail refuses it, None if it has the charge.

    The charge is stored first, and durably: a callback must find its deposit, whatever happens to this process.
    """
    rail = ctx.rails[deposit["method"]]

    async def remember(scope: Context) -> None:
        owner = (deposit["tenant_id"], deposit["id"], deposit["correlation_id"])
        await remember_charge(scope, deposit["method"], deposit["txid"], *owner)

    await run_in_tenant_unit_of_work(ctx, PLATFORM, deposit["txid"], remember)
    await ctx.durable()
    callback_url = ctx.public_url(f"/v1/providers/{deposit['method']}/callbacks")
    try:
        await rail.request_charge(deposit["txid"], deposit["amount"], deposit["currency"], callback_url)
    except RailRefused as refusal:
        ctx.log.warning("the rail refused the charge %s: %s", deposit["txid"], refusal.code)
        return Failure(code="provider_refused", detail=f"{refusal.code}: {refusal}")
    return None


async def _next_attempt(ctx: Context, deposit: DepositDocument) -> None:
    """Begin the next attempt: request the transfer of a paid deposit again, and set a new deadline.

    The charge of an unpaid deposit is requested at most `saga_attempts` times. The rail still has it after that, and a
    late callback is processed.
    """
    paid, attempt = deposit["end_to_end_id"], deposit["attempt"] + 1
    if paid is not None:
        ctx.emit(await received_again(ctx, deposit))
    if paid is None and saga.attempts_used_up(ctx, attempt):
        ctx.log.warning(
            "deposit %s is not paid yet; its charge %s is not requested again", deposit["id"], deposit["txid"]
        )
        await saga.end(ctx, "deposit", deposit["id"])
        due_at = None
    else:
        due_at = await saga.begin(ctx, "deposit", deposit["id"], attempt)
    ctx.update(DEPOSITS, deposit, attempt=attempt, due_at=due_at, updated_at=ctx.now_text)
