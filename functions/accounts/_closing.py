"""Closing an account, or waiting until it can be closed."""

from __future__ import annotations

from events.accounts import AccountClosed
from shared.context.context import Context
from shared.ports.documents import Query
from shared.records.accounts import ACCOUNTS, HOLDS, AccountDocument, AccountStatus
from shared.records.deposits import DEPOSITS
from shared.records.payments import REFUNDS


async def close_or_wait(ctx: Context, account: AccountDocument) -> AccountDocument:
    """Return the account, which is committed as `closing`, as `closed`, or as it is while something is in progress.

    When everything has ended and money has arrived meanwhile, the account becomes usable again: it cannot be closed
    with a balance. A payment or deposit expects the account as it was read: it was committed before the account became
    `closing`, and is found here, or it conflicts with that and finds the account closing.
    """
    assert account["status"] == "closing", "without this status, new payments could begin after the search"
    if await _in_progress(ctx, account):
        return account
    if account["posted"]:
        ctx.log.warning("account %s has received money while it was closing and stays open", account["id"])
        usable: AccountStatus = "active" if account["block_mode"] is None else "blocked"
        return ctx.update(ACCOUNTS, account, status=usable, updated_at=ctx.now_text)
    ctx.emit(AccountClosed(account_id=account["id"]))
    return ctx.update(ACCOUNTS, account, status="closed", updated_at=ctx.now_text)


async def _in_progress(ctx: Context, account: AccountDocument) -> bool:
    id = account["id"]
    if account["held"]:
        return True
    incoming = {"counterparty_account_id": id, "status": "active"}
    if await ctx.find(HOLDS, Query(where=incoming, limit=1)):
        return True
    # A deposit without a deadline (`due_at`) that was never paid does not delay the closing: a payment of it that
    # arrives later is stored as unmatched.
    deposits = {"account_id": id, "status": "created"}
    for driven in ("due_at", "end_to_end_id"):
        if await ctx.find(DEPOSITS, Query(where=deposits, ranges={driven: ("", None)}, limit=1)):
            return True
    # A returned payment over a rail has no hold.
    if await ctx.find(REFUNDS, Query(where={"payee_account_id": id, "status": "processing"}, limit=1)):
        return True
    # A recorded transfer may not be applied to the account yet.
    return await ctx.ledger.balance(ctx.tenant_id, id) != account["posted"]
