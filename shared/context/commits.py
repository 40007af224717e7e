"""Decide, commit, and decide again while others change what the decision rests on.

The one way by which requests, deliveries of events and the parts of a sweep commit. Each commit carries a mark by which
it is known again: an inbox marker, or the answer that is stored under an idempotency key.
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
    """Others changed what was decided on before each commit, `commit_attempts` times."""


class Points(NamedTuple):
    """The crash points before and behind a commit."""

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
    """Run `decide` with a context of its own, commit what it decided, and publish its events.

    A refused commit is decided again after a pause. `marker` is committed even where nothing else is written; without
    one, a decision that writes nothing is not committed. `exists` is called when something that was to be new exists
    already: it returns the outcome, or None to have it decided again.

    Returns the last run's context and what it decided. Raises AlreadyApplied where `marker` is there, NonceUsed,
    TooManyConflicts, CommitOutcomeUnknown, or Unavailable.
    """
    documents, own = runtime.documents, None
    for attempt in range(runtime.settings.commit_attempts):
        if attempt:
            await _pause(runtime, attempt)
        ctx = Context(runtime, tenant_id, origin, caller)
        ctx.pending.inbox = marker
        decision = await decide(ctx)
        pending = ctx.pending
        if marker is None and not _has_answer(pending):
            if pending.is_empty:
                return ctx, decision
            # The same in every run: a commit that was given up and arrives late finds the marker of its successor.
            pending.inbox = own = own or InboxMarker(origin.operation, _RUNS, runtime.ids.new("run"))
        reach(points.decided)
        try:
            try:
                await documents.commit(pending)
            except CommitOutcomeUnknown as unknown:
                await _find_out(runtime, pending, unknown)
        except AlreadyApplied:
            if own is None:
                raise
            # Nobody else has this marker, so this run's commit is there.
        except AlreadyExists as existing:
            log.debug("%s: %s", origin.operation, existing)
            outcome = None if exists is None else await exists(existing)
            if outcome is None:
                continue
            return ctx, outcome
        except NonceUsed:
            raise
        except CommitRefused as conflict:
            log.debug("%s decides again: %s", origin.operation, conflict)
            continue
        reach(points.committed)
        await publish(runtime, ctx)
        return ctx, decision
    raise TooManyConflicts(f"others change what {origin.operation} works on")


async def _find_out(runtime: Runtime, pending: Commit, unknown: CommitOutcomeUnknown) -> None:
    """Try the same commit again until its outcome is known.

    Raises AlreadyApplied, or AlreadyExists of the stored answer, where its mark is there: this commit or another of the
    same cause has happened. Raises the refusal where it is not, and CommitOutcomeUnknown after `commit_attempts`.
    """
    for attempt in range(1, runtime.settings.commit_attempts):
        log.warning("the outcome of a commit is not known, it is tried again: %s", unknown)
        await _pause(runtime, attempt)
        try:
            await runtime.documents.commit(pending)
        except CommitOutcomeUnknown as again:
            unknown = again
        except CommitRefused as refusal:
            # What refuses it may be its own success: a version that it has counted on, a document that it has made.
            raise await _happened(runtime, pending) or refusal from None
        else:
            return
    raise unknown


async def _happened(runtime: Runtime, pending: Commit) -> CommitRefused | None:
    """How a store says that the cause of a commit was dealt with, or None when it was not."""
    if pending.inbox is not None:
        return AlreadyApplied(str(pending.inbox)) if await runtime.documents.seen(pending.inbox) else None
    answer = pending.inserts[0][1]
    found = await runtime.documents.get(IDEMPOTENCY, answer["tenant_id"], answer["id"])
    return None if found is None else AlreadyExists(IDEMPOTENCY.name, PRIMARY_INDEX, answer["id"])


def _has_answer(pending: Commit) -> bool:
    """Whether an answer under an idempotency key is the first of what the commit makes."""
    return bool(pending.inserts) and pending.inserts[0][0] is IDEMPOTENCY


async def _pause(runtime: Runtime, attempt: int) -> None:
    """Wait before a further attempt (from 1): exponential back-off with full jitter, so that those that have met once
    do not meet again."""
    settings = runtime.settings
    longest = min(settings.commit_pause_limit_seconds, settings.commit_pause_seconds * 2 ** (attempt - 1))
    await asyncio.sleep(runtime.random.uniform(0.0, longest))
