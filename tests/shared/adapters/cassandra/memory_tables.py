"""The tables of the ledger in memory, and a process's view of them with faults, as of servers on a network."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import TypeVar

from shared.adapters.cassandra.tables import (
    Claim,
    ClaimedTransfer,
    Head,
    Line,
    OutcomeUnknown,
    Place,
    Position,
    Tables,
)
from shared.ports.documents import Unavailable

T = TypeVar("T")


class MemoryTables:
    """The tables, without faults. Each call is atomic. `calls` counts them by name."""

    def __init__(self) -> None:
        self.claims: dict[tuple[str, str], Claim] = {}
        self.heads: dict[tuple[Place, int], Head] = {}
        self.journal: dict[Place, list[Line]] = {}
        self.known: dict[tuple[str, str, int], Position] = {}
        self.days: dict[tuple[str, str], set[tuple[str, str]]] = {}
        self.hints: dict[Place, int] = {}
        self.calls: Counter[str] = Counter()

    async def claim(self, claim: Claim) -> Claim | None:
        self.calls["claim"] += 1
        transfer = claim.transfer if isinstance(claim, ClaimedTransfer) else claim
        existing = self.claims.setdefault((transfer.tenant_id, transfer.id), claim)
        return None if existing is claim else existing

    async def claimed(self, tenant_id: str, transfer_id: str, *, settled: bool) -> Claim | None:
        self.calls["claimed"] += 1
        return self.claims.get((tenant_id, transfer_id))

    async def open_bucket(self, head: Head) -> Head | None:
        self.calls["open_bucket"] += 1
        existing = self.heads.setdefault((head.place, head.bucket), head)
        return None if existing is head else existing

    async def head(self, place: Place, bucket: int, *, settled: bool) -> Head | None:
        self.calls["head"] += 1
        return self.heads.get((place, bucket))

    async def append_lines(self, before: Head, after: Head, lines: Sequence[Line]) -> bool:
        self.calls["append_lines"] += 1
        current = self.heads[before.place, before.bucket]
        if (current.sequence, current.balance) != (before.sequence, before.balance):
            return False
        tenant_id = before.place.tenant_id
        for position in current.pending:
            # The other side of the protocol's own assertion.
            assert (tenant_id, position.transfer_id, position.leg) in self.known
        self.heads[before.place, before.bucket] = after
        self.journal.setdefault(before.place, []).extend(lines)
        return True

    async def lines(self, place: Place, bucket: int, after_sequence: int, limit: int) -> Sequence[Line]:
        self.calls["lines"] += 1
        first = self.heads[place, bucket - 1].sequence if bucket else 0
        last = self.heads[place, bucket].sequence if (place, bucket) in self.heads else 0
        lines = self.journal.get(place, ())
        return [line for line in lines if max(first, after_sequence) < line.sequence <= last][:limit]

    async def put_position(self, tenant_id: str, position: Position) -> None:
        self.calls["put_position"] += 1
        known = self.known.setdefault((tenant_id, position.transfer_id, position.leg), position)
        assert known == position

    async def positions(self, tenant_id: str, transfer_id: str) -> Sequence[Position]:
        self.calls["positions"] += 1
        return [position for key, position in self.known.items() if key[:2] == (tenant_id, transfer_id)]

    async def put_day(self, tenant_id: str, recorded_at: str, transfer_id: str) -> None:
        self.calls["put_day"] += 1
        self.days.setdefault((tenant_id, recorded_at[:10]), set()).add((recorded_at, transfer_id))

    async def newest_of_day(
        self, tenant_id: str, day: str, before: tuple[str, str] | None, limit: int
    ) -> Sequence[tuple[str, str]]:
        self.calls["newest_of_day"] += 1
        noted = sorted(self.days.get((tenant_id, day), ()), reverse=True)
        return [each for each in noted if before is None or each < before][:limit]

    async def put_account(self, place: Place) -> None:
        self.calls["put_account"] += 1
        self.hints.setdefault(place, 0)

    async def put_bucket(self, place: Place, bucket: int) -> None:
        self.calls["put_bucket"] += 1
        self.hints[place] = bucket

    async def bucket(self, place: Place) -> int:
        self.calls["bucket"] += 1
        return self.hints.get(place, 0)

    async def accounts(self, tenant_id: str) -> Sequence[tuple[Place, int]]:
        self.calls["accounts"] += 1
        return [(place, hint) for place, hint in self.hints.items() if place.tenant_id == tenant_id]


class ProcessTables:
    """One process's view of the tables: calls take turns with other processes', and a share of them fails.

    After `ends_after` calls the process makes no more progress, as after `kill -9`; `ended` is set then.
    """

    def __init__(self, tables: Tables, random: Random, *, share: float = 0.0, ends_after: int | None = None) -> None:
        self._tables = tables
        self._random = random
        self._share = share
        self._left = ends_after
        self.ended = asyncio.Event()
        self.late: list[asyncio.Task[None]] = []
        """Writes to execute later, after their caller got an unknown outcome."""

    async def claim(self, claim: Claim) -> Claim | None:
        return await self._conditional(lambda: self._tables.claim(claim))

    async def claimed(self, tenant_id: str, transfer_id: str, *, settled: bool) -> Claim | None:
        return await self._plain(lambda: self._tables.claimed(tenant_id, transfer_id, settled=settled))

    async def open_bucket(self, head: Head) -> Head | None:
        return await self._conditional(lambda: self._tables.open_bucket(head))

    async def head(self, place: Place, bucket: int, *, settled: bool) -> Head | None:
        return await self._plain(lambda: self._tables.head(place, bucket, settled=settled))

    async def append_lines(self, before: Head, after: Head, lines: Sequence[Line]) -> bool:
        return await self._conditional(lambda: self._tables.append_lines(before, after, lines))

    async def lines(self, place: Place, bucket: int, after_sequence: int, limit: int) -> Sequence[Line]:
        return await self._plain(lambda: self._tables.lines(place, bucket, after_sequence, limit))

    async def put_position(self, tenant_id: str, position: Position) -> None:
        await self._plain(lambda: self._tables.put_position(tenant_id, position))

    async def positions(self, tenant_id: str, transfer_id: str) -> Sequence[Position]:
        return await self._plain(lambda: self._tables.positions(tenant_id, transfer_id))

    async def put_day(self, tenant_id: str, recorded_at: str, transfer_id: str) -> None:
        await self._plain(lambda: self._tables.put_day(tenant_id, recorded_at, transfer_id))

    async def newest_of_day(
        self, tenant_id: str, day: str, before: tuple[str, str] | None, limit: int
    ) -> Sequence[tuple[str, str]]:
        return await self._plain(lambda: self._tables.newest_of_day(tenant_id, day, before, limit))

    async def put_account(self, place: Place) -> None:
        await self._plain(lambda: self._tables.put_account(place))

    async def put_bucket(self, place: Place, bucket: int) -> None:
        await self._plain(lambda: self._tables.put_bucket(place, bucket))

    async def bucket(self, place: Place) -> int:
        return await self._plain(lambda: self._tables.bucket(place))

    async def accounts(self, tenant_id: str) -> Sequence[tuple[Place, int]]:
        return await self._plain(lambda: self._tables.accounts(tenant_id))

    async def _plain(self, call: Callable[[], Awaitable[T]]) -> T:
        await self._turn()
        if self._random.random() < self._share:
            if self._random.random() < 0.5:
                await call()
            raise Unavailable("the server did not answer")
        answer = await call()
        await self._turn(counts=False)
        return answer

    async def _conditional(self, call: Callable[[], Awaitable[T]]) -> T:
        await self._turn()
        if self._random.random() >= self._share:
            answer = await call()
            await self._turn(counts=False)
            return answer
        if self._random.random() < 0.5:
            await call()
        elif self._random.random() < 0.5:
            self.late.append(asyncio.create_task(self._later(call)))
        raise OutcomeUnknown("the server did not answer in time")

    async def _later(self, call: Callable[[], Awaitable[T]]) -> None:
        for _ in range(self._random.randrange(20)):
            await asyncio.sleep(0)
        await call()

    async def _turn(self, *, counts: bool = True) -> None:
        """Let other tasks run, and end the process when its time has come."""
        for _ in range(self._random.randrange(3)):
            await asyncio.sleep(0)
        if self._left is None:
            return
        self._left -= counts
        if self._left < 0:
            self.ended.set()
            await asyncio.Event().wait()
