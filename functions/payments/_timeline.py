"""The timeline of a payment: the events of the payment and its refunds, numbered in the order of their commits."""

from __future__ import annotations

from typing import Final

from shared.context.context import Context
from shared.core.envelope import Event

VIA_RAIL: Final = "rail"
"""The value of the extension attribute `via` of a capture request that the provider of a rail carries out."""


def publish_and_record(ctx: Context, payment_id: str, number: int, event: Event) -> None:
    """Publish an event as number `number` of the payment's timeline, counted from 1. It is stored only in the event
    log."""
    ctx.emit(event, history=f"{payment_id}/{number:08d}")


def publish_via_rail(ctx: Context, payment_id: str, number: int, event: Event) -> None:
    """Do the same with an event that is not for the ledger: a Trigger sends it to the providers domain."""
    ctx.emit(event, history=f"{payment_id}/{number:08d}", via=VIA_RAIL)
