"""GET /v1/users."""

from __future__ import annotations

from functions.users._user import User, user_resources
from shared.context.context import Context
from shared.context.persons import person_of
from shared.functions.decorators import http_function
from shared.http.models import ListQuery, Page
from shared.http.pages import decode_cursor, encode_cursor
from shared.ports.documents import Query
from shared.records.users import USERS


@http_function("GET /v1/users", scope="users:read")
async def list_users(query: ListQuery, ctx: Context) -> Page[User]:
    """List users, newest first. A person's token lists the person alone."""
    filters, after = decode_cursor(ctx, query.cursor, {})
    person = person_of(ctx)
    if person is not None:
        own = await ctx.get(USERS, person) if after is None else None
        return Page(data=await user_resources(ctx, [] if own is None else [own]))
    found = await ctx.find(USERS, Query(newest_first=True, after=after, limit=query.limit + 1))
    shown = found[: query.limit]
    following = encode_cursor(ctx, filters, shown[-1]["id"]) if len(found) > query.limit else None
    return Page(data=await user_resources(ctx, shown), next_cursor=following)
