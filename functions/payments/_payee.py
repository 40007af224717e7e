"""The check of the payee's account after the hold is committed."""

from __future__ import annotations

from events.failure import Failure
from shared.context.context import Context
from shared.records.accounts import ACCOUNTS, CLOSED


async def payee_failure(ctx: Context, account_id: str) -> Failure | None:
    """Return the failure when the payee's account is closing, closed or blocked for credits, otherwise None.

    Called when the hold for the payee is committed, and before its transfer is requested. A closing commits the account
    as `closing` and then looks for holds. So either that closing finds the hold and waits for its end, or the account
    is found closing here (docs/decisions/0017).
    """
    account = await ctx.referenced(ACCOUNTS, account_id, "/payee_account_id")
    if account["status"] in CLOSED:
        return Failure(code="account_closed", detail="The payee's account is closed.")
    if account["block_mode"] == "all":
        return Failure(code="account_blocked", detail="The payee's account takes no credits.")
    return None
