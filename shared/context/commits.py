"""Commits of requests, deliveries of events and sweeps. After a conflict the handler runs again.

No other module commits. Each commit has a mark by which the store recognises it: an inbox marker, or the response that
is stored under an idempotency key.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from shared.context.context import Context, Origin
from shared.context.outbox import publish
from shared.context.runtime import Runtime
from shared.core.crash_points import reach
from shared.ports.documents import (
    PRIMARY_INDEX,
    AlreadyApplied,
    AlreadyExists,
    Commit,
    CommitOutcomeUnknown,
    CommitRefused,
    InboxMarker,
    NonceUsed,
    Unavailable,
)
from shared.records.idempotency import IDEMPOTENCY

if TYPE_CHECKING:
    from shared.identity.tokens import Caller

log = logging.getLogger(__name__)
T = TypeVar("T")
_RUNS: Final = "/lastro/runs"


class TooManyConflicts(Unavailable):
    """The commit was refused `commit_attempts` times, because other commits changed what the handler had read."""


class Points(NamedTuple):
    """The names of the crash points before and after a commit."""

    decided: str
    committed: str


async def decide_and_commit(
    runtime: Runtime,
    decide: Callable[[Context], Awaitable[T]],
    tenant_id: str,
    origin: Origin,
    points: Points,
    *,
    caller: Caller | None = None,
    marker: InboxMarker | None = None,
    exists: Callable[[AlreadyExists], Awaitable[T | None]] | None = None,
) -> tuple[Context, T]:
    """Run `decide` with a new context, commit its writes, and publish its events.

    After a refused commit, `decide` runs again after a pause. `marker` is committed even when there are no writes;
    without a marker, a run without writes commits nothing. `exists` is called when a new document or a unique value
    exists already: it returns the result, or None to run `decide` again.

    Returns the context and the result of the last run. Raises AlreadyApplied when `marker` is committed already,
    NonceUsed, TooManyConflicts, CommitOutcomeUnknown, or Unavailable.
    """
    documents, own = runtime.documents, None
    for attempt in range(runtime.settings.commit_attempts):
        if attempt:
            await _pause(runtime, attempt)
        ctx = Context(runtime, tenant_id, origin, caller)
        ctx.attempt = attempt
        ctx.pending.inbox = marker
        decision = await decide(ctx)
        pending = ctx.pending
        if marker is None and not _has_response(pending):
            if pending.is_empty:
                return ctx, decision
            # The same in every run: an abandoned commit that arrives late is refused by the marker of a later run.
            pending.inbox = own = own or InboxMarker(origin.operation, _RUNS, runtime.ids.new("run"))
        reach(points.decided)
        try:
            try:
                await documents.commit(pending)
            except CommitOutcomeUnknown as unknown:
                await _find_out(runtime, pending, unknown)
        except AlreadyApplied:
            if own is None:
                # Two processes have handled the same cause; the store has let one of them commit.
                runtime.telemetry.count("reprocessed")
                raise
            # No other commit has this marker, so this run's commit has happened.
        except AlreadyExists as existing:
            log.debug("%s: %s", origin.operation, existing)
            outcome = None if exists is None else await exists(existing)
            if outcome is None:
                continue
            runtime.telemetry.count("reprocessed", by=int(existing.collection == IDEMPOTENCY.name))
            return ctx, outcome
        except NonceUsed:
            raise
        except CommitRefused as conflict:
            log.debug("%s runs again after a conflict: %s", origin.operation, conflict)
            continue
        reach(points.committed)
        await publish(runtime, ctx)
        return ctx, decision
    raise TooManyConflicts(f"{origin.operation}: other commits changed what it read, at each of its attempts")


async def _find_out(runtime: Runtime, pending: Commit, unknown: CommitOutcomeUnknown) -> None:
    """Retry the same commit until its outcome is known.

    Raises AlreadyApplied, or AlreadyExists of the stored response, when the store has the commit's mark: this commit or
    another of the same cause has happened. Raises the refusal when it has not, and CommitOutcomeUnknown after
    `commit_attempts`.
    """
    for attempt in range(1, runtime.settings.commit_attempts):
        log.warning("the outcome of a commit is unknown, it is retried: %s", unknown)
        await _pause(runtime, attempt)
        try:
            await runtime.documents.commit(pending)
        except CommitOutcomeUnknown as again:
            unknown = again
        except CommitRefused as refusal:
            # The reason may be that this commit has happened: it increased the version, or it made the document.
            raise await _happened(runtime, pending) or refusal from None
        else:
            return
    raise unknown


async def _happened(runtime: Runtime, pending: Commit) -> CommitRefused | None:
    """Return the refusal which shows that the cause of a commit is handled already, or None when it is not handled."""
    if pending.inbox is not None:
        return AlreadyApplied(str(pending.inbox)) if await runtime.documents.seen(pending.inbox) else None
    answer = pending.inserts[0][1]
    found = await runtime.documents.get(IDEMPOTENCY, answer["tenant_id"], answer["id"])
    return None if found is None else AlreadyExists(IDEMPOTENCY.name, PRIMARY_INDEX, answer["id"])


def _has_response(pending: Commit) -> bool:
    """Return whether the first insert of the commit is a response stored under an idempotency key."""
    return bool(pending.inserts) and pending.inserts[0][0] is IDEMPOTENCY


async def _pause(runtime: Runtime, attempt: int) -> None:
    """Wait before a further attempt (from 1): exponential back-off with full jitter, so that two handlers whose commits
    conflicted do not run at the same time again."""
    settings = runtime.settings
    longest = min(settings.commit_pause_limit_seconds, settings.commit_pause_seconds * 2 ** (attempt - 1))
    await asyncio.sleep(runtime.random.uniform(0.0, longest))
