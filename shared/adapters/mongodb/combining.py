"""Commits of one process that increment the same document share a transaction, as the embedded store's writer combines
decisions.

Two transactions that write one document conflict on MongoDB, also when both only add to it. For an account that many
payments credit, a transaction for each would be a storm of conflicts. Here a commit waits while a transaction of its
process increments one of its documents; all that wait then are written together, at most BATCH_COMMITS of them. One
process is therefore at most one party of a conflict over a document.

A commit that does not wait is written alone and at once, and sends the same commands as without this module.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Final, NamedTuple

from shared.adapters.mongodb.writes import Planned
from shared.ports.documents import CommitRefused, VersionConflict

BATCH_COMMITS: Final = 50
"""The greatest number of commits in one transaction."""
ATTEMPTS: Final = 4
"""The number of times that a transaction of increments is made while other processes write the same documents. It reads
nothing, so the handlers do not run again; afterwards they do."""
_PAUSE_SECONDS: Final = 0.005
_jitter: Final = Random()  # noqa: S311 - pauses


class Refused(NamedTuple):
    """A transaction was refused. `owner` is the place of the commit that caused it, or None when it is not known."""

    error: CommitRefused
    owner: int | None


Write = Callable[[Sequence[Planned]], Awaitable[Refused | None]]
"""Writes commits in one transaction, and returns None when it is committed. Raises VersionConflict when another
transaction writes the same documents, CommitOutcomeUnknown, or another error of the server."""


class _Member:
    """A commit that waits for its outcome."""

    __slots__ = ("outcome", "planned")

    def __init__(self, planned: Planned) -> None:
        self.planned = planned
        self.outcome: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def refuse(self, error: Exception) -> None:
        if not self.outcome.done():
            self.outcome.set_exception(error)

    def confirm(self) -> None:
        if not self.outcome.done():
            self.outcome.set_result(None)


class Combiner:
    """The commits of a process that increment or expect documents."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._busy: set[tuple[str, str]] = set()
        self._waiting: list[_Member] = []
        self._transactions: set[asyncio.Task[None]] = set()

    async def commit(self, planned: Planned) -> None:
        """Write a commit, alone or together with others. Raises what the documents port defines."""
        member = _Member(planned)
        self._waiting.append(member)
        self._begin()
        await member.outcome

    def _begin(self) -> None:
        """Begin a transaction for each waiting commit whose documents are free, in the order of their arrival."""
        waiting, self._waiting = self._waiting, []
        reserved: set[tuple[str, str]] = set()
        while waiting:
            first, *waiting = waiting
            if not first.planned.shared.isdisjoint(self._busy | reserved):
                # Later commits must not take these documents again and again before this one.
                reserved |= first.planned.shared
                self._waiting.append(first)
                continue
            batch, waiting = self._batch(first, waiting, self._busy | reserved)
            documents = frozenset[tuple[str, str]]().union(*(member.planned.shared for member in batch))
            self._busy |= documents
            transaction = asyncio.create_task(self._run(batch, documents))
            self._transactions.add(transaction)
            transaction.add_done_callback(self._transactions.discard)

    @staticmethod
    def _batch(
        first: _Member, waiting: Sequence[_Member], taken: set[tuple[str, str]]
    ) -> tuple[list[_Member], list[_Member]]:
        """Return the commits that are written together with the first one, and those that go on waiting."""
        batch, others = [first], []
        writes, markers = dict(first.planned.writes), set(first.planned.own)
        for member in waiting:
            planned = member.planned
            if (
                len(batch) < BATCH_COMMITS
                and planned.shared.isdisjoint(taken)
                and planned.own.isdisjoint(markers)
                and planned.goes_with(writes)
            ):
                batch.append(member)
                writes = {**planned.writes, **writes}
                markers |= planned.own
            else:
                others.append(member)
        return batch, others

    async def _run(self, batch: list[_Member], documents: frozenset[tuple[str, str]]) -> None:
        """Write a batch. A commit that is refused is left out; when it is not known which one, each half is tried."""
        groups = deque([batch])
        try:
            while groups:
                group = groups.popleft()
                refused = await self._tried(group)
                if refused is None:
                    for member in group:
                        member.confirm()
                elif refused.owner is not None or len(group) == 1:
                    group.pop(refused.owner or 0).refuse(refused.error)
                    groups.extendleft([group] if group else [])
                else:
                    half = len(group) // 2
                    groups.extendleft([group[half:], group[:half]])
        except asyncio.CancelledError:
            # The process ends.
            for member in (*batch, *self._waiting):
                member.outcome.cancel()
            self._waiting.clear()
            raise
        finally:
            self._busy -= documents
            self._begin()

    async def _tried(self, group: list[_Member]) -> Refused | None:
        """Write a group. When it fails for another reason than a refusal, all its commits get the error."""
        error: Exception | None = None
        for attempt in range(ATTEMPTS):
            if attempt:
                await asyncio.sleep(_jitter.uniform(0.0, _PAUSE_SECONDS * 2**attempt))
            try:
                return await self._write([member.planned for member in group])
            except VersionConflict as conflict:
                error = conflict
            except Exception as other:  # noqa: BLE001 - any error is passed to the callers
                error = other
                break
        assert error is not None, "there is at least one attempt"
        for member in group:
            member.refuse(error)
        return None
