"""The timeline of a payment: the events of the payment and its refunds, numbered in the order of their commits."""

from __future__ import annotations

from shared.context.context import Context
from shared.core.envelope import Event


def publish_and_record(ctx: Context, payment_id: str, number: int, event: Event) -> None:
    """Publish an event as number `number` of the payment's timeline, counted from 1. It is stored only in the event
    log."""
    ctx.emit(event, history=f"{payment_id}/{number:08d}")
