"""Pages of a list. A cursor is opaque, holds the filters, and is valid for one operation and one tenant."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from shared.context.context import Context
from shared.core.problems import Problem
from shared.http.models import ListQuery, Page, R
from shared.ports.documents import Collection, D, Place, Query

Filters = Mapping[str, str | None]


def encode_cursor(ctx: Context, filters: Filters, after: str) -> str:
    """Return a cursor for the items after `after`, for this operation and tenant and with these filters."""
    content = [ctx.origin.operation, ctx.tenant_id, {k: v for k, v in filters.items() if v is not None}, after]
    return urlsafe_b64encode(orjson.dumps(content)).rstrip(b"=").decode()


def decode_cursor(ctx: Context, cursor: str | None, filters: Filters) -> tuple[dict[str, str], str | None]:
    """Return the filters of the list and the place to continue after (None on the first page).

    With a cursor, the filters are those of the cursor; a request that repeats them must repeat them unchanged. Raises
    Problem `malformed_request` for a cursor that was not made for this operation and tenant, and for other filters.
    """
    given = {name: value for name, value in filters.items() if value is not None}
    if cursor is None:
        return given, None
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        operation, tenant_id, carried, after = orjson.loads(urlsafe_b64decode(padded.encode("ascii")))
    except (ValueError, TypeError):
        raise _bad_cursor("The cursor is not valid. Send the `next_cursor` of the previous page.") from None
    # A cursor is not signed. It may hold only what a request without a cursor could ask for.
    well_formed = (
        isinstance(carried, dict)
        and carried.keys() <= filters.keys()
        and isinstance(after, str)
        and all(isinstance(value, str) for value in carried.values())
    )
    if not well_formed or operation != ctx.origin.operation or tenant_id != ctx.tenant_id:
        raise _bad_cursor("The cursor belongs to another list.")
    if any(carried.get(name) != value for name, value in given.items()):
        raise _bad_cursor("The filters differ from those of the first page. Leave them out or repeat them.")
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
    """Return one page of a collection. `build` makes the store's query from the filters, with the order of the list."""
    in_force, after = decode_cursor(ctx, listing.cursor, filters)
    query = build(in_force)
    found = await ctx.find(collection, page_after(query, after, listing.limit))
    return make_page(ctx, found, listing.limit, in_force, lambda document: place_text(query, document), resource)


def page_after(query: Query, after: str | None, limit: int) -> Query:
    """Return the query of the page behind `after`, with one item more than `limit`: it shows whether a page follows.

    `after` is the text of `place_text`, or None for the first page.
    """
    place: str | Place | None = after
    if after is not None and query.order_by is not None:
        value, _, id = after.partition(" ")
        place = Place(value, id)
    return query._replace(after=place, limit=limit + 1)


def place_text(query: Query, document: Mapping[str, Any]) -> str:
    """Return the place of a document in the order of the query, as the text that a cursor has: its id, or the value of
    the field of the order and the id."""
    id = str(document["id"])
    return id if query.order_by is None else f"{document[query.order_by]} {id}"


def make_page(
    ctx: Context,
    found: Sequence[Any],
    limit: int,
    filters: Filters,
    place: Callable[[Any], str],
    resource: Callable[[Any], R],
) -> Page[R]:
    """Return a page of the first `limit` items. When more are found, the page has a `next_cursor`.

    `place` returns the place that the next page continues after, as `place_text` does.
    """
    shown = found[:limit]
    following = encode_cursor(ctx, filters, place(shown[-1])) if len(found) > limit else None
    return Page(data=[resource(item) for item in shown], next_cursor=following)
