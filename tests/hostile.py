"""Stores that several processes share and that misbehave as servers on a network may: on purpose, by a die.

What they do is allowed by the ports. A commit may be refused for a conflict that cannot be seen; it may fail before it
happened, or after; it may happen later, when its caller has given it up. A cache forgets. A bus takes events and says
that it did not. A sweep across tenants reads what was true a moment ago.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from enum import Enum
from random import Random
from typing import Any, Final, NamedTuple, Protocol

from shared.adapters.memory.stores import MemoryCache, MemoryDocuments, MemoryLedger
from shared.adapters.pix.rail import PixHttpRail
from shared.core.clock import Clock
from shared.core.envelope import Envelope
from shared.ports.documents import (
    Collection,
    Commit,
    CommitOutcomeUnknown,
    CommitRefused,
    D,
    InboxMarker,
    Query,
    ReadToken,
    Unavailable,
    VersionConflict,
)
from shared.ports.ledger import AccountTurnover, Cause, Entry, LedgerRefused, RecordedTransfer, Refusal, Transfer
from shared.ports.rail import Rail
from shared.records.catalogue import COLLECTIONS

_CALLS_LATE: Final = 6
"""How many calls of the stores may come before a late write does."""
_MOMENTS: Final = 4
"""How many commits a lagging read may be behind."""


class Fault(Enum):
    """What becomes of a call that writes."""

    NONE = "none"
    CONFLICT = "conflict"
    """Refused, though the caller cannot see why."""
    LOST = "lost"
    """Nothing happens, and the caller knows."""
    APPLIED = "applied"
    """It happens, and the caller is not told."""
    DROPPED = "dropped"
    """Nothing happens, and the caller does not know."""
    LATE = "late"
    """It happens some calls later, if it still can; the caller does not know. Tried again it is settled: what has not
    happened by then never will."""


FAULTS: Final = tuple(Fault)


class Die(Protocol):
    """Decides what goes wrong."""

    def fault(self) -> Fault:
        """What becomes of the next call that writes."""
        ...

    def chance(self, one_in: int) -> bool:
        """Whether something happens that does so once in so many times."""
        ...

    def below(self, limit: int) -> int:
        """A number from 0 up to, not including, a limit."""
        ...


class SeededDie:
    """Goes wrong in a share of the calls, by a seed; `calm` stops it."""

    def __init__(self, seed: int, share: float = 0.25) -> None:
        self._random = Random(seed)
        self._share = share
        self.calm = False

    def fault(self) -> Fault:
        if self.calm or self._random.random() >= self._share:
            return Fault.NONE
        return self._random.choice(FAULTS[1:])

    def chance(self, one_in: int) -> bool:
        return not self.calm and self._random.randrange(one_in) == 0

    def below(self, limit: int) -> int:
        return 0 if self.calm else self._random.randrange(limit)


class ScriptedDie:
    """Goes wrong as it was told, call after call, and then no more."""

    def __init__(self) -> None:
        self.script: deque[Fault] = deque()

    def fault(self) -> Fault:
        return self.script.popleft() if self.script else Fault.NONE

    def chance(self, one_in: int) -> bool:
        """Once in a while, as long as something is to go wrong at all."""
        return len(self.script) % one_in == 1

    def below(self, limit: int) -> int:
        return len(self.script) % limit


class _Late(NamedTuple):
    """A write that is on its way, and how many calls may come before it."""

    calls: int
    what: object
    write: Callable[[], Awaitable[object]]


class Servers:
    """The stores that the processes share, and the writes that are still on their way to them."""

    def __init__(self, die: Die, collections: Iterable[Collection[Any, ...]] = COLLECTIONS) -> None:
        self.die = die
        self._collections = tuple(collections)
        self.documents = MemoryDocuments(self._collections)
        self.ledger = MemoryLedger()
        self.happened: Counter[Fault] = Counter()
        self.sent: deque[Envelope] = deque(maxlen=_MOMENTS)
        self._moments: deque[Any] = deque(maxlen=_MOMENTS)
        self._late: list[_Late] = []

    async def called(self) -> None:
        """Let the late writes come whose time it is. Every call of a store begins with this."""
        if not self._late:
            return
        late, self._late = self._late, []
        for each in late:
            if each.calls > 0:
                self._late.append(each._replace(calls=each.calls - 1))
            else:
                await self._arrive(each)

    async def arrived(self) -> None:
        """Let all late writes come."""
        late, self._late = self._late, []
        for each in late:
            await self._arrive(each)

    async def _settle(self, what: object) -> None:
        """Let earlier attempts at the same come now or never."""
        late, self._late = self._late, []
        for each in late:
            if each.what is not what:
                self._late.append(each)
            elif self.die.chance(2):
                await self._arrive(each)

    async def _arrive(self, late: _Late) -> None:
        try:
            await late.write()
        except (CommitRefused, LedgerRefused):
            return

    async def write(
        self,
        what: object,
        write: Callable[[], Awaitable[Any]],
        conflict: Callable[[], Exception],
        unknown: Callable[[], Exception],
    ) -> Any:
        """Make a call that writes, or let it go wrong. `what` is the same object when the same is tried again."""
        await self.called()
        await self._settle(what)
        fault = self.die.fault()
        self.happened[fault] += 1
        if fault is Fault.CONFLICT:
            raise conflict()
        if fault is Fault.LOST:
            raise Unavailable("the store does not answer")
        if fault is Fault.DROPPED:
            raise unknown()
        if fault is Fault.LATE:
            self._late.append(_Late(self.die.below(_CALLS_LATE), what, write))
            raise unknown()
        self._moments.append(self.documents._rows)
        written = await write()
        if fault is Fault.APPLIED:
            raise unknown()
        return written

    def moment_ago(self) -> MemoryDocuments:
        """The documents as they were some commits ago."""
        if not self._moments:
            return self.documents
        before = MemoryDocuments(self._collections)
        before._rows = self._moments[self.die.below(len(self._moments))]
        return before


class HostileDocuments:
    """One process's way to the documents."""

    def __init__(self, servers: Servers) -> None:
        self._servers = servers

    @property
    def read_token(self) -> ReadToken | None:
        return None

    async def get(self, collection: Collection[D, ...], tenant_id: str, id: str) -> D | None:
        await self._servers.called()
        return await self._servers.documents.get(collection, tenant_id, id)

    async def find(self, collection: Collection[D, ...], tenant_id: str | None, query: Query) -> Sequence[D]:
        await self._servers.called()
        lags = tenant_id is None and self._servers.die.chance(3)
        documents = self._servers.moment_ago() if lags else self._servers.documents
        return await documents.find(collection, tenant_id, query)

    async def history(self, tenant_id: str, name: str, after: str | None, limit: int) -> Sequence[Envelope]:
        await self._servers.called()
        return await self._servers.documents.history(tenant_id, name, after, limit)

    async def seen(self, marker: InboxMarker) -> bool:
        await self._servers.called()
        return await self._servers.documents.seen(marker)

    async def commit(self, commit: Commit) -> None:
        async def write() -> None:
            await self._servers.documents.commit(commit)

        await self._servers.write(
            commit,
            write,
            lambda: VersionConflict("another process is at it"),
            lambda: CommitOutcomeUnknown("the store did not answer in time"),
        )

    async def durable(self, read_token: ReadToken | None = None) -> None:
        await self._servers.called()

    async def unsent(self, older_than: str, limit: int) -> Sequence[Envelope]:
        await self._servers.called()
        waiting = list(await self._servers.documents.unsent(older_than, limit))
        if waiting and self._servers.die.chance(3):
            waiting += self._servers.sent
        return waiting

    async def mark_sent(self, events: Sequence[Envelope]) -> None:
        async def write() -> None:
            await self._servers.documents.mark_sent(events)
            self._servers.sent.extend(events)

        await self._servers.write(object(), write, _away, _away)


class HostileLedger:
    """One process's way to the ledger."""

    def __init__(self, servers: Servers) -> None:
        self._servers = servers

    async def append(self, transfer: Transfer, recorded_at: str) -> RecordedTransfer | Refusal:
        async def write() -> RecordedTransfer | Refusal:
            return await self._servers.ledger.append(transfer, recorded_at)

        outcome: RecordedTransfer | Refusal = await self._servers.write(object(), write, _away, _away)
        return outcome

    async def refuse(
        self, tenant_id: str, transfer_id: str, cause: Cause, reason: str, recorded_at: str
    ) -> RecordedTransfer | Refusal:
        async def write() -> RecordedTransfer | Refusal:
            return await self._servers.ledger.refuse(tenant_id, transfer_id, cause, reason, recorded_at)

        outcome: RecordedTransfer | Refusal = await self._servers.write(object(), write, _away, _away)
        return outcome

    async def transfer(self, tenant_id: str, transfer_id: str) -> RecordedTransfer | None:
        await self._servers.called()
        return await self._servers.ledger.transfer(tenant_id, transfer_id)

    async def entries(self, tenant_id: str, account_id: str, after_sequence: int, limit: int) -> Sequence[Entry]:
        await self._servers.called()
        return await self._servers.ledger.entries(tenant_id, account_id, after_sequence, limit)

    async def balance(self, tenant_id: str, account_id: str) -> int:
        await self._servers.called()
        return await self._servers.ledger.balance(tenant_id, account_id)

    async def turnover(self, tenant_id: str) -> Sequence[AccountTurnover]:
        await self._servers.called()
        return await self._servers.ledger.turnover(tenant_id)


class HostileCache(MemoryCache):
    """A cache of one process alone, which forgets everything when it likes."""

    def __init__(self, clock: Clock, die: Die) -> None:
        super().__init__(clock)
        self._die = die

    async def lock(self, key: str, ttl_seconds: float) -> int | None:
        await self._forget()
        return await super().lock(key, ttl_seconds)

    async def due(self, now: datetime, limit: int) -> Sequence[str]:
        await self._forget()
        return await super().due(now, limit)

    async def _forget(self) -> None:
        if self._die.chance(4):
            await self.clear()


class HostileBus:
    """One process's way to a bus."""

    reads_the_outbox = False

    def __init__(self, servers: Servers, publish: Callable[[Iterable[Envelope]], Awaitable[None]]) -> None:
        self._servers = servers
        self._publish = publish

    async def publish(self, events: Sequence[Envelope]) -> None:
        async def write() -> None:
            await self._publish(events)

        await self._servers.write(object(), write, _away, _away)

    async def progress(self, correlation_id: str, timeout_seconds: float) -> bool:
        return True


class HostileRail(PixHttpRail):
    """One process's way to a provider."""

    def __init__(self, servers: Servers, rail: Rail) -> None:
        super().__init__("")
        self._servers = servers
        self._rail = rail

    async def request_charge(self, reference: str, amount: int, currency: str, callback_url: str) -> None:
        async def write() -> None:
            await self._rail.request_charge(reference, amount, currency, callback_url)

        await self._servers.write(object(), write, _away, _away)


def _away() -> Unavailable:
    return Unavailable("the server did not answer in time")
