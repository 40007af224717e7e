"""The history of a user: one entry for each change, with its personal data sealed."""

from __future__ import annotations

from typing import NamedTuple

import orjson

from shared.context.context import Context
from shared.records.users import USER_CHANGES, UserAction, UserChangeDocument


class FieldChange(NamedTuple):
    """A changed field, with its value before and after; None where it has none."""

    field: str
    before: str | dict[str, str] | None
    after: str | dict[str, str] | None


def content_of(reason: str | None, changes: tuple[FieldChange, ...] = ()) -> str:
    """Return the text of an entry's content, which is to be sealed."""
    return orjson.dumps({"reason": reason, "changes": [change._asdict() for change in changes]}).decode()


async def record_action(ctx: Context, user_id: str, action: UserAction, reason: str | None = None) -> None:
    """Add an entry about an action without changed fields, with its reason sealed."""
    content = None if reason is None else (await ctx.secrets.seal([content_of(reason)]))[0]
    record_change(ctx, user_id, action, content)


def record_change(ctx: Context, user_id: str, action: UserAction, sealed: str | None) -> None:
    """Add an entry to the history of a user: the action, the caller, the time and the sealed content."""
    caller = ctx.caller
    entry: UserChangeDocument = {
        "id": ctx.new_id("uch"),
        "tenant_id": ctx.tenant_id,
        "version": 1,
        "user_id": user_id,
        "action": action,
        "client_id": None if caller is None else caller.client_id,
        "actor_user_id": None if caller is None else caller.user_id,
        "content": sealed,
        "created_at": ctx.now_text,
    }
    ctx.insert(USER_CHANGES, entry)
