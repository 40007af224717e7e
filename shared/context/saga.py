"""Deadlines of sagas: of payments, refunds, deposits, returns and clients, whose steps several functions perform.

The document of a saga has `attempt`, the number of the current step's attempt, and `due_at`, the time when that
attempt is overdue (None when the saga waits for nothing). The cache has a copy of the deadlines, so that a sweep finds
overdue sagas without a search; when the cache loses one, the search of the documents finds it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal, NamedTuple, cast, get_args

from shared.context.context import Context
from shared.core.clock import JUMP_SECONDS, format_time
from shared.core.settings import Settings
from shared.ports.documents import Unavailable

SagaType = Literal["payment", "refund", "deposit", "return", "client"]


class SagaKey(NamedTuple):
    """The saga to which a deadline belongs: its type, its tenant and its id."""

    type: SagaType
    tenant_id: str
    id: str


def _key_of(type: SagaType, tenant_id: str, id: str) -> str:
    """Return the name of a saga's deadline in the cache."""
    return f"saga/{type}/{tenant_id}/{id}"


def _parse_key(text: str) -> SagaKey | None:
    """Return the saga that a deadline in the cache names, or None when the deadline is not of a saga."""
    parts = text.split("/")
    if len(parts) != 4 or parts[0] != "saga" or parts[1] not in get_args(SagaType):
        return None
    return SagaKey(cast("SagaType", parts[1]), parts[2], parts[3])


def _due_after(settings: Settings, now: datetime, attempt: int) -> datetime:
    """Return the time when an attempt that begins now is overdue.

    Each attempt waits `saga_step_seconds` longer than the previous one, up to `saga_attempts` times that.
    """
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
    """Set the deadline of a step's attempt in the cache, and return it for the document's `due_at`."""
    due = _due_after(ctx.runtime.settings, ctx.now, attempt)
    try:
        await ctx.runtime.cache.schedule(_key_of(type, ctx.tenant_id, id), due)
    except Unavailable as error:
        ctx.log.warning("the cache did not store the deadline of %s: %s", id, error)
    return format_time(due)


async def end(ctx: Context, type: SagaType, id: str) -> None:
    """Remove the deadline from the cache: the saga no longer waits for a step."""
    try:
        await ctx.runtime.cache.unschedule(_key_of(type, ctx.tenant_id, id))
    except Unavailable as error:
        ctx.log.warning("the cache did not remove the deadline of %s: %s", id, error)
