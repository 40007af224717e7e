"""The commit loop: when a handler runs again, and how a commit with an unknown outcome is resolved."""

from __future__ import annotations

import asyncio
from random import Random
from types import SimpleNamespace
from typing import Any, Final

import pytest

from events.accounts import AccountOpened
from shared.adapters.memory.stores import MemoryBus, MemoryDocuments
from shared.context.commits import Points, TooManyConflicts, decide_and_commit
from shared.context.context import Context, Origin
from shared.core.clock import ManualClock
from shared.core.ids import IdSource
from shared.core.settings import Settings
from shared.ports.documents import (
    AlreadyApplied,
    Collection,
    Commit,
    CommitOutcomeUnknown,
    CommitRefused,
    Document,
    GuardRefused,
    InboxMarker,
    NoChanges,
    Unavailable,
    VersionConflict,
)
from shared.records.catalogue import COLLECTIONS
from shared.telemetry.recorder import Telemetry

ORIGIN = Origin("accounts/open_account", "evt_1", "req_1", None, "00")
POINTS = Points("event.decided", "event.committed")
MARKER = InboxMarker("accounts/open_account", "/s", "evt_1")


class NoteDocument(Document):
    """A document with the number of the run that wrote it."""

    decided: int


NOTES: Final = Collection("notes", owner="accounts", document=NoteDocument, changes=NoChanges)
FACT = AccountOpened(account_id="acc_1", owner_id="usr_1", currency="BRL", overdraft_limit=0)


class Documents(MemoryDocuments):
    """Documents in memory whose next commits have given outcomes."""

    def __init__(self, *answers: str) -> None:
        super().__init__((NOTES, *COLLECTIONS))
        self.answers = list(answers)
        self.tried: list[Commit] = []
        self.late: list[Commit] = []

    async def commit(self, commit: Commit) -> None:
        self.tried.append(commit)
        answer = self.answers.pop(0) if self.answers else "done"
        if answer == "conflict":
            raise VersionConflict("as ordered")
        if answer == "guard":
            raise GuardRefused("as ordered")
        if answer == "late":
            self.late.append(commit)
        if answer in ("done", "applied"):
            await super().commit(commit)
        if answer != "done":
            raise CommitOutcomeUnknown("as ordered")

    async def arrive(self, commit: Commit) -> None:
        """Make a delayed commit now."""
        await MemoryDocuments.commit(self, commit)


class Run:
    """A runtime on such documents, and a handler that counts its runs."""

    def __init__(self, *answers: str, **settings: Any) -> None:
        self.documents, self.bus, clock = Documents(*answers), MemoryBus(), ManualClock()
        self.decided = 0
        self.runtime: Any = SimpleNamespace(
            clock=clock,
            documents=self.documents,
            bus=self.bus,
            random=Random(1),
            settings=Settings(commit_pause_seconds=0.0)._replace(**settings),
            ids=IdSource(clock, Random(1)),
            telemetry=Telemetry(Random(1), 0.0),
        )

    async def decide(self, ctx: Context) -> int:
        self.decided += 1
        note: NoteDocument = {"id": f"n{self.decided}", "tenant_id": "acme", "version": 1, "decided": self.decided}
        ctx.insert(NOTES, note)
        ctx.emit(FACT)
        return self.decided

    async def __call__(self, marker: InboxMarker | None = MARKER) -> int:
        _, decision = await decide_and_commit(self.runtime, self.decide, "acme", ORIGIN, POINTS, marker=marker)
        return decision

    async def notes(self) -> list[int]:
        """Return the numbers of the runs that were committed."""
        found = [await self.documents.get(NOTES, "acme", f"n{number}") for number in range(1, 20)]
        return [note["decided"] for note in found if note is not None]


@pytest.mark.parametrize("marker", [MARKER, None])
async def test_a_handler_runs_again_after_a_conflict(marker: InboxMarker | None) -> None:
    """After each version conflict the handler runs again, and the events of the committed run are published."""
    run = Run("conflict", "guard")
    assert await run(marker) == 3
    assert await run.notes() == [3]
    assert [event.id for event in run.bus.published] == [event.id for event in run.documents.events]


async def test_attempts_after_conflicts_are_bounded() -> None:
    """After `commit_attempts` conflicts nothing is committed and nothing is published."""
    run = Run(*["conflict"] * 9, commit_attempts=4)
    with pytest.raises(TooManyConflicts):
        await run()
    assert (run.decided, await run.notes(), run.bus.published) == (4, [], [])


@pytest.mark.parametrize("marker", [MARKER, None])
@pytest.mark.parametrize("answers", [["applied"], ["lost"], ["lost", "lost", "applied"], ["lost", "applied", "lost"]])
async def test_a_commit_with_an_unknown_outcome_is_repeated(answers: list[str], marker: InboxMarker | None) -> None:
    """A commit with an unknown outcome is repeated until its outcome is known, and is made once."""
    run = Run(*answers)
    try:
        assert await run(marker) == 1
    except AlreadyApplied:
        assert marker is not None
    assert (run.decided, await run.notes(), len(run.documents.events)) == (1, [1], 1)
    assert all(commit is run.documents.tried[0] for commit in run.documents.tried)


async def test_an_outcome_that_stays_unknown_is_reported_as_unknown() -> None:
    """When the outcome stays unknown, the handler does not run again, and the caller gets CommitOutcomeUnknown."""
    run = Run(*["lost"] * 4, commit_attempts=4)
    with pytest.raises(CommitOutcomeUnknown):
        await run()
    assert (run.decided, len(run.documents.tried)) == (1, 4)
    assert issubclass(CommitOutcomeUnknown, Unavailable)
    assert not issubclass(CommitOutcomeUnknown, CommitRefused)
    assert await run() == 2
    assert await run.notes() == [2]


@pytest.mark.parametrize("marker", [MARKER, None])
async def test_its_own_success_is_no_conflict(marker: InboxMarker | None) -> None:
    """A commit that was made without an answer, and is then refused for its own changes, is recognised by its
    marker."""
    run = Run("applied", "conflict")
    try:
        assert await run(marker) == 1
    except AlreadyApplied:
        assert marker is not None
    assert (run.decided, await run.notes()) == (1, [1])


@pytest.mark.parametrize("marker", [MARKER, None])
async def test_a_late_commit_after_a_second_run_is_refused(marker: InboxMarker | None) -> None:
    """After an unknown outcome and a refusal the handler runs again, and the first commit, which arrives late,
    changes nothing."""
    run = Run("late", "guard")
    assert await run(marker) == 2
    (late,) = run.documents.late
    with pytest.raises(AlreadyApplied):
        await run.documents.arrive(late)
    assert (await run.notes(), len(run.documents.events)) == ([2], 1)


async def test_an_event_that_was_applied_is_not_published_by_another_run() -> None:
    """When the marker exists after an unknown outcome, this run's events are not published, because another run may
    have committed; the second run is counted."""
    run = Run("lost", "conflict")

    async def meanwhile(ctx: Context) -> None:
        ctx.emit(FACT)
        await run.documents.arrive(Commit("acme", inbox=MARKER))

    with pytest.raises(AlreadyApplied):
        await decide_and_commit(run.runtime, meanwhile, "acme", ORIGIN, POINTS, marker=MARKER)
    assert run.bus.published == []
    assert run.runtime.telemetry.counters == {("reprocessed", ""): 1}


async def test_a_run_without_writes_makes_no_commit() -> None:
    """A run without writes makes no commit, except to store an inbox marker."""
    run = Run()

    async def look(ctx: Context) -> str:
        return ctx.tenant_id

    assert (await decide_and_commit(run.runtime, look, "acme", ORIGIN, POINTS))[1] == "acme"
    assert run.documents.tried == []
    await decide_and_commit(run.runtime, look, "acme", ORIGIN, POINTS, marker=MARKER)
    assert await run.documents.seen(MARKER)


@pytest.mark.parametrize("answer", ["conflict", "lost"])
async def test_attempts_back_off_with_full_jitter(answer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pause before an attempt is uniformly random between 0 and a bound that doubles with each attempt, up to a
    limit."""
    run = Run(*[answer] * 9, commit_attempts=6, commit_pause_seconds=0.5, commit_pause_limit_seconds=3.0)
    bounds: list[tuple[float, float]] = []
    pauses: list[float] = []

    def drawn(low: float, high: float) -> float:
        bounds.append((low, high))
        return 0.75 * high

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(run.runtime.random, "uniform", drawn)
    monkeypatch.setattr(asyncio, "sleep", pause)
    with pytest.raises(Unavailable):
        await run()
    assert bounds == [(0.0, 0.5), (0.0, 1.0), (0.0, 2.0), (0.0, 3.0), (0.0, 3.0)]
    assert pauses == [0.75 * high for _, high in bounds]
