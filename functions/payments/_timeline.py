"""The timeline of a payment: every fact about it and its refunds, stored in the commit that publishes the fact."""

from __future__ import annotations

from shared.context.context import Context
from shared.core.envelope import Event
from shared.records.timeline import TIMELINE, TimelineDocument


def first_place(payment_id: str) -> str:
    """Return an id that sorts before the payment's first timeline entry."""
    return f"{payment_id}/"


def publish_and_record(ctx: Context, payment_id: str, number: int, event: Event) -> None:
    """Publish a fact and store it in the payment's timeline as number `number`, counted from 1."""
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
