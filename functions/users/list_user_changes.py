"""GET /v1/users/{user_id}/changes."""

from __future__ import annotations

from typing import Any

import orjson
from pydantic import Field

from shared.context.context import Context
from shared.context.persons import require_own
from shared.functions.decorators import http_function
from shared.http.models import CreatedAt, ListQuery, Page, Resource
from shared.http.pages import decode_cursor, encode_cursor
from shared.ports.documents import Query
from shared.records.users import USER_CHANGES, USERS, UserAction, UserChangeDocument


class ChangedField(Resource):
    """A changed field of a user."""

    field: str = Field(description="The name of the field.")
    before: str | dict[str, str] | None = Field(description="The value before the change, or null.")
    after: str | dict[str, str] | None = Field(description="The value after the change, or null.")


class UserChange(Resource):
    """An entry in the history of a user."""

    id: str = Field(description="The entry's id, `uch_…`.")
    action: UserAction = Field(description="What was done.")
    client_id: str | None = Field(description="The client that requested it; null for the platform itself.")
    actor_user_id: str | None = Field(description="The person in whose name the client requested it, or null.")
    reason: str | None = Field(description="The caller's reason, or null.")
    changes: list[ChangedField] = Field(description="The changed fields; empty unless the action is `updated`.")
    created_at: CreatedAt


@http_function("GET /v1/users/{user_id}/changes", scope="users:read")
async def list_user_changes(user_id: str, query: ListQuery, ctx: Context) -> Page[UserChange]:
    """List the changes of a user, newest first: what was done, when and by whom."""
    require_own(ctx, user_id, user_id)
    await ctx.required(USERS, user_id)
    filters, after = decode_cursor(ctx, query.cursor, {"user_id": user_id})
    selected = Query(where={"user_id": user_id}, newest_first=True, after=after, limit=query.limit + 1)
    found = await ctx.find(USER_CHANGES, selected)
    shown = found[: query.limit]
    contents = iter(await ctx.secrets.open([entry["content"] for entry in shown if entry["content"] is not None]))
    data = [_resource(entry, None if entry["content"] is None else orjson.loads(next(contents))) for entry in shown]
    following = encode_cursor(ctx, filters, shown[-1]["id"]) if len(found) > query.limit else None
    return Page(data=data, next_cursor=following)


def _resource(entry: UserChangeDocument, content: dict[str, Any] | None) -> UserChange:
    return UserChange(
        id=entry["id"],
        action=entry["action"],
        client_id=entry["client_id"],
        actor_user_id=entry["actor_user_id"],
        reason=None if content is None else content["reason"],
        changes=[] if content is None else [ChangedField(**change) for change in content["changes"]],
        created_at=entry["created_at"],
    )
