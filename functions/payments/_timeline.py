"""The timeline: every fact about a payment and its refunds, kept in the commit that publishes it."""

from __future__ import annotations

from typing import Final, TypedDict

from shared.context import Context
from shared.envelope import Event
from shared.ports.documents import Collection


class TimelineDocument(TypedDict):
    """One fact. The id is the payment's and the fact's number in it, so that facts lie together in their order;
    `data` is the fact's JSON text, as it was published."""

    id: str
    tenant_id: str
    version: int
    event_id: str
    type: str
    time: str
    data: str


TIMELINE: Final[Collection[TimelineDocument]] = Collection("timeline", read_rarely=True)


def first_place(payment_id: str) -> str:
    """The place before a payment's first fact."""
    return f"{payment_id}/"


def tell(ctx: Context, payment_id: str, number: int, event: Event) -> None:
    """Publish a fact and keep it as a payment's `number`-th (from 1)."""
    envelope = ctx.emit(event)
    entry: TimelineDocument = {
        "id": f"{first_place(payment_id)}{number:08d}",
        "tenant_id": ctx.tenant_id,
        "version": 1,
        "event_id": envelope.id,
        "type": event.type,
        "time": ctx.now_text,
        "data": envelope.data.decode(),
    }
    ctx.insert(TIMELINE, entry)
