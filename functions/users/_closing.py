"""Closing a user whose accounts are all closed."""

from __future__ import annotations

from typing import Final

from events.users import UserClosed
from functions.users._history import record_action
from shared.context.context import Context
from shared.ports.documents import Query
from shared.records.accounts import ACCOUNTS, AccountStatus
from shared.records.users import USERS, UserDocument

_OPEN: Final[tuple[AccountStatus, ...]] = ("active", "blocked", "closing")


async def close_or_keep(ctx: Context, user: UserDocument) -> UserDocument:
    """Return the user, whose closing is committed as begun, as closed; or unchanged when an account is not closed.

    accounts/open_account opens no account for a user who is being closed, and expects the user as it was read. So an
    account was committed before the closing began, and is found here, or its commit is refused.
    """
    assert user.get("closing_since") is not None, "an account could be opened after the search"
    open_accounts = Query(where={"owner_id": user["id"]}, any_of=tuple({"status": status} for status in _OPEN), limit=1)
    if await ctx.find(ACCOUNTS, open_accounts):
        return ctx.update(USERS, user, closing_since=None)
    ctx.emit(UserClosed(user_id=user["id"]))
    await record_action(ctx, user["id"], "closed")
    return ctx.update(USERS, user, status="closed", closing_since=None, updated_at=ctx.now_text)
