"""Deadlines of what runs over several functions: kept in the cache, and found in the documents when it loses them.

A document that takes part has `attempt` (the number of its present step's attempt) and `due_at` (when that attempt
counts as stuck; None when nothing is awaited). The cache only tells sooner where to look; what is true stands in the
document.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal, NamedTuple, cast, get_args

from shared.context.context import Context
from shared.core.clock import JUMP_SECONDS, format_time
from shared.core.settings import Settings
from shared.ports.documents import Unavailable

SagaType = Literal["payment", "refund", "deposit"]


class SagaKey(NamedTuple):
    """Which saga a deadline is of."""

    type: SagaType
    tenant_id: str
    id: str


def key_of(type: SagaType, tenant_id: str, id: str) -> str:
    """The name of a saga's deadline in the cache."""
    return f"saga/{type}/{tenant_id}/{id}"


def parse_key(text: str) -> SagaKey | None:
    """The saga that a deadline in the cache names, or None when it is of something else."""
    parts = text.split("/")
    if len(parts) != 4 or parts[0] != "saga" or parts[1] not in get_args(SagaType):
        return None
    return SagaKey(cast("SagaType", parts[1]), parts[2], parts[3])


def due_after(settings: Settings, now: datetime, attempt: int) -> datetime:
    """When this attempt of a step, begun now, counts as stuck: each one waits a step's time longer than the one
    before, up to `saga_attempts` times that."""
    return now + timedelta(seconds=settings.saga_step_seconds * min(attempt, settings.saga_attempts))


def ledger_deadline(settings: Settings, now: datetime) -> str:
    """Until when the ledger may record a transfer that is asked for now."""
    return format_time(now + timedelta(seconds=settings.saga_step_seconds * settings.saga_attempts))


def latest_deadline(settings: Settings, now: datetime) -> str:
    """No deadline that is set now or was set earlier lies so far ahead, unless the wall clock was set back since."""
    longest = settings.saga_step_seconds * settings.saga_attempts
    return format_time(now + timedelta(seconds=longest + JUMP_SECONDS))


async def begin(ctx: Context, type: SagaType, id: str, attempt: int = 1) -> str:
    """Set the deadline of a step's attempt, and return it for the document's `due_at`."""
    due = due_after(ctx.runtime.settings, ctx.now, attempt)
    try:
        await ctx.runtime.cache.schedule(key_of(type, ctx.tenant_id, id), due)
    except Unavailable as error:
        ctx.log.warning("the cache did not take the deadline of %s: %s", id, error)
    return format_time(due)


async def end(ctx: Context, type: SagaType, id: str) -> None:
    """Forget the deadline: nothing is awaited any more."""
    try:
        await ctx.runtime.cache.unschedule(key_of(type, ctx.tenant_id, id))
    except Unavailable as error:
        ctx.log.warning("the cache did not forget the deadline of %s: %s", id, error)
