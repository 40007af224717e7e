"""The check of the payee's account after the hold is committed."""

from __future__ import annotations

from events.failure import Failure
from shared.context.context import Context
from shared.core.problems import Problem
from shared.records.accounts import ACCOUNTS, CLOSED
from shared.records.system_accounts import is_system_account


async def payee_failure(ctx: Context, account_id: str) -> Failure | None:
    """Return the failure when the payee's account is closing, closed or blocked for credits, otherwise None.

    Called when the hold for the payee is committed, and before its transfer is requested. A closing commits the account
    as `closing` and then looks for holds. So either that closing finds the hold and waits for its end, or the account
    is found closing here (docs/decisions/0017). The clearing account of a rail is never closed.
    """
    account = await ctx.get(ACCOUNTS, account_id)
    if account is None:
        if is_system_account(account_id):
            return None
        raise Problem.at("unknown_reference", "/payee_account_id", f"{account_id} is not known.")
    if account["status"] in CLOSED:
        return Failure(code="account_closed", detail="The payee's account is closed.")
    if account["block_mode"] == "all":
        return Failure(code="account_blocked", detail="The payee's account takes no credits.")
    return None
