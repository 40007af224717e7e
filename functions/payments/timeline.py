"""GET /v1/payments/{payment_id}/events."""

from __future__ import annotations

import json
from typing import Any

from pydantic import Field

from functions.payments._timeline import first_place
from shared.context.context import Context
from shared.functions.decorators import http_function
from shared.http.models import ListQuery, Page, Resource, Time
from shared.http.pages import decode_cursor, make_page
from shared.ports.documents import Query
from shared.records.payments import PAYMENTS
from shared.records.timeline import TIMELINE, TimelineDocument


class TimelineEntry(Resource):
    """One event in the life of a payment or of its refunds."""

    id: str = Field(description="The event's id, `evt_…`.")
    type: str = Field(description="The CloudEvents type, such as `lastro.payment.settled.v1`.")
    time: Time = Field(description="When the event was committed.")
    data: dict[str, Any] = Field(description="The event's data. Its schema is at `/schemas/<type>.json`.")


@http_function("GET /v1/payments/{payment_id}/events", scope="payments:read")
async def timeline(payment_id: str, query: ListQuery, ctx: Context) -> Page[TimelineEntry]:
    """List the events of a payment and its refunds, oldest first."""
    await ctx.required(PAYMENTS, payment_id)
    in_force, after = decode_cursor(ctx, query.cursor, {"payment": payment_id})
    start = first_place(payment_id)
    found = await ctx.find(TIMELINE, Query(after=after or start, limit=query.limit + 1))
    own = [entry for entry in found if entry["id"].startswith(start)]
    return make_page(ctx, own, query.limit, in_force, lambda entry: str(entry["id"]), _resource)


def _resource(entry: TimelineDocument) -> TimelineEntry:
    return TimelineEntry(id=entry["event_id"], type=entry["type"], time=entry["time"], data=json.loads(entry["data"]))
