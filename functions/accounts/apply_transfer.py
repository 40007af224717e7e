"""ledger.transfer_posted → account.balance_changed, and account.funds_released for the unused part of a hold."""

from __future__ import annotations

from collections.abc import Mapping

from events.accounts import BalanceChanged
from events.ledger import TransferPosted
from functions.accounts._holds import hold_id, publish_released
from functions.accounts._usage import give_back
from shared.context.context import Context
from shared.core.money import money
from shared.functions.decorators import event_function
from shared.records.accounts import ACCOUNTS, HOLDS, AccountChanges, HoldDocument
from shared.records.system_accounts import is_system_account


@event_function(TransferPosted)
async def apply_transfer(event: TransferPosted, ctx: Context) -> None:
    """Apply a recorded transfer to its payment accounts: change their balances and end the hold of the payment."""
    hold = await _hold_of(event, ctx)
    changes, currencies = _changes_of(event)
    if hold is not None and hold["account_id"] not in changes:
        # The issuer's hold of a card payment is on a clearing account. The gateway gives the rest of it back itself.
        ctx.update(HOLDS, hold, status="captured", updated_at=ctx.now_text)
        hold = None
    for account_id, change in changes.items():
        increments: AccountChanges = {"posted": change}
        if hold is not None and hold["account_id"] == account_id:
            increments["held"] = -hold["amount"]
            await _use_up(ctx, hold, taken=-change)
        # The balance is incremented and not read, so that payments to the same merchant do not conflict.
        ctx.change(ACCOUNTS, account_id, **increments)
        amount = money(change, currencies[account_id])
        ctx.emit(BalanceChanged(account_id=account_id, transfer_id=event.transfer_id, change=amount))


async def _hold_of(event: TransferPosted, ctx: Context) -> HoldDocument | None:
    if event.cause_type == "deposit":
        return None
    hold = await ctx.get(HOLDS, hold_id(ctx, event.cause_id))
    if hold is None and all(is_system_account(leg.account_id) for leg in event.legs if leg.direction == "debit"):
        # A payment over a rail came back, or a return is paid from a system account: such accounts have no holds.
        return None
    if hold is None or hold["status"] != "active":
        # The ledger decides what was transferred, so the transfer is applied without a hold; the account's floor
        # still refuses a negative available balance.
        ctx.log.error("transfer %s was posted and its hold is not active", event.transfer_id)
        return None
    return hold


def _changes_of(event: TransferPosted) -> tuple[Mapping[str, int], Mapping[str, str]]:
    changes: dict[str, int] = {}
    currencies: dict[str, str] = {}
    for leg in event.legs:
        if is_system_account(leg.account_id):
            continue
        signed = leg.amount if leg.direction == "credit" else -leg.amount
        changes[leg.account_id] = changes.get(leg.account_id, 0) + signed
        currencies[leg.account_id] = leg.currency
    return changes, currencies


async def _use_up(ctx: Context, hold: HoldDocument, *, taken: int) -> None:
    ctx.update(HOLDS, hold, status="captured", updated_at=ctx.now_text)
    rest = hold["amount"] - taken
    if rest <= 0:
        return
    await give_back(ctx, hold, rest)
    publish_released(ctx, hold, rest, "captured_in_part")
