"""GET /v1/users/{user_id}/changes."""

from __future__ import annotations

from functions.users._change_resource import UserChange, change_resources
from shared.context.context import Context
from shared.context.persons import require_own
from shared.functions.decorators import http_function
from shared.http.models import ListQuery, Page
from shared.http.pages import decode_cursor, encode_cursor
from shared.ports.documents import Query
from shared.records.users import USER_CHANGES, USERS


@http_function("GET /v1/users/{user_id}/changes", scope="users:read")
async def list_user_changes(user_id: str, query: ListQuery, ctx: Context) -> Page[UserChange]:
    """List the changes of a user, newest first: what was done, when and by whom."""
    require_own(ctx, user_id, user_id)
    await ctx.required(USERS, user_id)
    filters, after = decode_cursor(ctx, query.cursor, {"user_id": user_id})
    selected = Query(where={"user_id": user_id}, newest_first=True, after=after, limit=query.limit + 1)
    found = await ctx.find(USER_CHANGES, selected)
    shown = found[: query.limit]
    following = encode_cursor(ctx, filters, shown[-1]["id"]) if len(found) > query.limit else None
    return Page(data=await change_resources(ctx, shown), next_cursor=following)
