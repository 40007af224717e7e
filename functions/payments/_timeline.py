"""The timeline: the events of a payment and its refunds, numbered in the order of their commits."""

from __future__ import annotations

from shared.context.context import Context
from shared.core.envelope import Event


def publish_and_record(ctx: Context, payment_id: str, number: int, event: Event) -> None:
    """Publish an event as a payment's `number`-th (from 1): it is stored once, and the timeline reads it."""
    ctx.emit(event, history=f"{payment_id}/{number:08d}")
