"""GET /v1/payments/{payment_id}/events."""

from __future__ import annotations

import json
from typing import Any

from pydantic import Field

from functions.payments._access import visible_payment
from shared.context.context import Context
from shared.core.envelope import Envelope
from shared.functions.decorators import http_function
from shared.http.models import ListQuery, Page, Resource, Time
from shared.http.pages import decode_cursor, make_page


class TimelineEntry(Resource):
    """One event in the life of a payment or of its refunds."""

    id: str = Field(description="The event's id, `evt_…`.")
    type: str = Field(description="The CloudEvents type, such as `lastro.payment.settled.v1`.")
    time: Time = Field(description="When the event was committed.")
    data: dict[str, Any] = Field(description="The event's data. Its schema is at `/schemas/<type>.json`.")


@http_function("GET /v1/payments/{payment_id}/events", scope="payments:read")
async def timeline(payment_id: str, query: ListQuery, ctx: Context) -> Page[TimelineEntry]:
    """List the events of a payment and its refunds, oldest first."""
    await visible_payment(ctx, payment_id)
    in_force, after = decode_cursor(ctx, query.cursor, {"payment": payment_id})
    found = await ctx.history(payment_id, after, query.limit + 1)
    return make_page(ctx, found, query.limit, in_force, lambda event: str(event.history), _resource)


def _resource(event: Envelope) -> TimelineEntry:
    assert event.time is not None  # a context sets it
    return TimelineEntry(id=event.id, type=event.type, time=event.time, data=json.loads(event.data))
