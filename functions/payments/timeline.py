"""GET /v1/payments/{payment_id}/events: what happened to a payment and its refunds."""

from __future__ import annotations

import json
from typing import Any

from functions.payments._timeline import first_place
from shared.context.context import Context
from shared.functions.decorators import http_function
from shared.http.models import ListQuery, Page, Resource
from shared.http.pages import decode_cursor, make_page
from shared.ports.documents import Query
from shared.records.payments import PAYMENTS
from shared.records.timeline import TIMELINE, TimelineDocument


class TimelineEntry(Resource):
    """One fact: the event's id, its CloudEvents type in full, when it was committed, and its data."""

    id: str
    type: str
    time: str
    data: dict[str, Any]


@http_function("GET /v1/payments/{payment_id}/events", scope="payments:read")
async def timeline(payment_id: str, query: ListQuery, ctx: Context) -> Page[TimelineEntry]:
    """Every fact about a payment and its refunds, oldest first."""
    await ctx.required(PAYMENTS, payment_id)
    in_force, after = decode_cursor(ctx, query.cursor, {"payment": payment_id})
    start = first_place(payment_id)
    found = await ctx.find(TIMELINE, Query(after=after or start, limit=query.limit + 1))
    own = [entry for entry in found if entry["id"].startswith(start)]
    return make_page(ctx, own, query.limit, in_force, lambda entry: str(entry["id"]), _resource)


def _resource(entry: TimelineDocument) -> TimelineEntry:
    return TimelineEntry(id=entry["event_id"], type=entry["type"], time=entry["time"], data=json.loads(entry["data"]))
