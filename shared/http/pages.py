"""Pages of a list: opaque cursors that carry the filters and are bound to a tenant."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from shared.context.context import Context
from shared.core.problems import Problem
from shared.http.models import ListQuery, Page, R
from shared.ports.documents import Collection, D, Query

Filters = Mapping[str, str | None]


def encode_cursor(ctx: Context, filters: Filters, after: str) -> str:
    """A cursor behind `after` for this operation, tenant and these filters."""
    content = [ctx.origin.operation, ctx.tenant_id, {k: v for k, v in filters.items() if v is not None}, after]
    return urlsafe_b64encode(orjson.dumps(content)).rstrip(b"=").decode()


def decode_cursor(ctx: Context, cursor: str | None, filters: Filters) -> tuple[dict[str, str], str | None]:
    """The filters in force and the place to go on from.

    Filters sent beside a cursor must be those that it carries. Raises Problem `malformed_request` for a
    cursor that was not made for this operation and tenant.
    """
    given = {name: value for name, value in filters.items() if value is not None}
    if cursor is None:
        return given, None
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        operation, tenant_id, carried, after = orjson.loads(urlsafe_b64decode(padded.encode("ascii")))
    except (ValueError, TypeError):
        raise _bad_cursor("The cursor is not one that this platform gave.") from None
    # A cursor is opaque and not secret: what it asks for must be what this list could be asked for without it.
    well_formed = (
        isinstance(carried, dict)
        and carried.keys() <= filters.keys()
        and isinstance(after, str)
        and all(isinstance(value, str) for value in carried.values())
    )
    if not well_formed or operation != ctx.origin.operation or tenant_id != ctx.tenant_id:
        raise _bad_cursor("The cursor was not made for this list.")
    if any(carried.get(name) != value for name, value in given.items()):
        raise _bad_cursor("The filters differ from those that the cursor carries.")
    return carried, after


def _bad_cursor(detail: str) -> Problem:
    return Problem.parameter("malformed_request", "cursor", detail)


async def find_page(
    ctx: Context,
    collection: Collection[D, ...],
    listing: ListQuery,
    filters: Filters,
    build: Callable[[Mapping[str, str]], Query],
    resource: Callable[[D], R],
) -> Page[R]:
    """One page of a collection, newest first unless `build` says otherwise.

    `build` makes the store's query from the filters in force.
    """
    in_force, after = decode_cursor(ctx, listing.cursor, filters)
    query = build(in_force)._replace(after=after, limit=listing.limit + 1)
    found = await ctx.find(collection, query)
    return make_page(ctx, found, listing.limit, in_force, lambda document: str(document["id"]), resource)


def make_page(
    ctx: Context,
    found: Sequence[Any],
    limit: int,
    filters: Filters,
    place: Callable[[Any], str],
    resource: Callable[[Any], R],
) -> Page[R]:
    """A page of the first `limit` of what was found; one found beyond them means that there are more."""
    shown = found[:limit]
    following = encode_cursor(ctx, filters, place(shown[-1])) if len(found) > limit else None
    return Page(data=[resource(item) for item in shown], next_cursor=following)
