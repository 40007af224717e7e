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


def _key_of(type: SagaType, tenant_id: str, id: str) -> str:
    """The name of a saga's deadline in the cache."""
    return f"saga/{type}/{tenant_id}/{id}"


def _parse_key(text: str) -> SagaKey | None:
    """The saga that a deadline in the cache names, or None when it is of something else."""
    parts = text.split("/")
    if len(parts) != 4 or parts[0] != "saga" or parts[1] not in get_args(SagaType):
        return None
    return SagaKey(cast("SagaType", parts[1]), parts[2], parts[3])


def _due_after(settings: Settings, now: datetime, attempt: int) -> datetime:
    """When this attempt of a step, begun now, counts as stuck: each one waits a step's time longer than the one
    before, up to `saga_attempts` times that."""
    return now + timedelta(seconds=settings.saga_step_seconds * min(attempt, settings.saga_attempts))


def ledger_deadline(ctx: Context) -> str:
    """Return the time until which the ledger may record a transfer that is requested now."""
    return format_time(ctx.now + timedelta(seconds=_longest_seconds(ctx)))


def latest_deadline(ctx: Context) -> str:
    """Return a time later than any deadline that was set up to now, unless the wall clock was set back since."""
    return format_time(ctx.now + timedelta(seconds=_longest_seconds(ctx) + JUMP_SECONDS))


def _longest_seconds(ctx: Context) -> int:
    settings = ctx.runtime.settings
    return settings.saga_step_seconds * settings.saga_attempts


def attempts_used_up(ctx: Context, attempt: int) -> bool:
    """Return whether this attempt of a step is beyond the last one."""
    return attempt > ctx.runtime.settings.saga_attempts


async def due(ctx: Context) -> list[SagaKey]:
    """Return sagas of all tenants whose deadlines in the cache have passed, a bounded number.

    It is empty when the cache is unavailable: the documents have the deadlines too.
    """
    try:
        found = await ctx.runtime.cache.due(ctx.now, ctx.runtime.settings.sweep_batch)
    except Unavailable as error:
        ctx.log.warning("the cache cannot be read for due sagas, their documents are searched: %s", error)
        return []
    return [key for key in map(_parse_key, found) if key is not None]


async def begin(ctx: Context, type: SagaType, id: str, attempt: int = 1) -> str:
    """Set the deadline of a step's attempt, and return it for the document's `due_at`."""
    due = _due_after(ctx.runtime.settings, ctx.now, attempt)
    try:
        await ctx.runtime.cache.schedule(_key_of(type, ctx.tenant_id, id), due)
    except Unavailable as error:
        ctx.log.warning("the cache did not take the deadline of %s: %s", id, error)
    return format_time(due)


async def end(ctx: Context, type: SagaType, id: str) -> None:
    """Forget the deadline: nothing is awaited any more."""
    try:
        await ctx.runtime.cache.unschedule(_key_of(type, ctx.tenant_id, id))
    except Unavailable as error:
        ctx.log.warning("the cache did not forget the deadline of %s: %s", id, error)
