"""Stores that several processes share and that fail at random, as servers on a network may.

The ports allow all their faults. A commit may be refused for an invisible conflict; it may fail before it was made, or
after; it may be made later, after its caller has stopped waiting. A cache loses its contents. A bus accepts events and
reports an error. A sweep across tenants reads stale documents.
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
from shared.ports.rail import (
    ChargeOrder,
    ChargeRevision,
    PayableCharge,
    Rail,
    ReturnOrder,
    ReturnState,
    StaticCodeOrder,
)
from shared.records.catalogue import COLLECTIONS

_CALLS_LATE: Final = 6
"""The greatest number of calls of the stores before a late write is made."""
_MOMENTS: Final = 4
"""The greatest number of commits by which a read may be stale."""


class Fault(Enum):
    """The outcome of a writing call."""

    NONE = "none"
    CONFLICT = "conflict"
    """Refused, without a reason that the caller can see."""
    LOST = "lost"
    """Nothing is written, and the caller gets an error that says so."""
    APPLIED = "applied"
    """It is written, and the caller does not get the outcome."""
    DROPPED = "dropped"
    """Nothing is written, and the caller does not get the outcome."""
    LATE = "late"
    """It is written some calls later, if still possible, and the caller does not get the outcome. When the caller
    repeats it, the first attempt is made at once or never."""


FAULTS: Final = tuple(Fault)


class Die(Protocol):
    """Decides which calls fail."""

    def fault(self) -> Fault:
        """Return the outcome of the next writing call."""
        ...

    def chance(self, one_in: int) -> bool:
        """Return True once in so many calls, at random."""
        ...

    def below(self, limit: int) -> int:
        """Return a number from 0 to a limit, which is excluded."""
        ...


class SeededDie:
    """Lets a share of the calls fail, by a seed; `calm` stops that."""

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
    """Lets calls fail as in a given list, and no call after its end."""

    def __init__(self) -> None:
        self.script: deque[Fault] = deque()

    def fault(self) -> Fault:
        return self.script.popleft() if self.script else Fault.NONE

    def chance(self, one_in: int) -> bool:
        """Return True from time to time, while the list is not at its end."""
        return len(self.script) % one_in == 1

    def below(self, limit: int) -> int:
        return len(self.script) % limit


class _Late(NamedTuple):
    """A late write, and the number of calls before it is made."""

    calls: int
    what: object
    write: Callable[[], Awaitable[object]]


class Servers:
    """The stores that the processes share, and their late writes."""

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
        """Make the late writes that are due. Every call of a store begins with this."""
        if not self._late:
            return
        late, self._late = self._late, []
        for each in late:
            if each.calls > 0:
                self._late.append(each._replace(calls=each.calls - 1))
            else:
                await self._arrive(each)

    async def arrived(self) -> None:
        """Make all late writes."""
        late, self._late = self._late, []
        for each in late:
            await self._arrive(each)

    async def _settle(self, what: object) -> None:
        """Make the earlier attempts at the same write now, or drop them."""
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
        """Make a writing call, or let it fail. `what` is the same object when a call is repeated."""
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

    def stale_documents(self) -> MemoryDocuments:
        """Return the documents as they were some commits ago."""
        if not self._moments:
            return self.documents
        before = MemoryDocuments(self._collections)
        before._rows = self._moments[self.die.below(len(self._moments))]
        return before


class HostileDocuments:
    """The documents port of one process."""

    def __init__(self, servers: Servers) -> None:
        self._servers = servers

    @property
    def read_token(self) -> ReadToken | None:
        return None

    @property
    def answers_at_once(self) -> bool:
        return False

    async def get(self, collection: Collection[D, ...], tenant_id: str, id: str) -> D | None:
        await self._servers.called()
        return await self._servers.documents.get(collection, tenant_id, id)

    async def find(self, collection: Collection[D, ...], tenant_id: str | None, query: Query) -> Sequence[D]:
        await self._servers.called()
        lags = tenant_id is None and self._servers.die.chance(3)
        documents = self._servers.stale_documents() if lags else self._servers.documents
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
    """The ledger port of one process."""

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
    """The cache of one process, which loses everything at random."""

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
    """The bus port of one process."""

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
    """The rail of one process."""

    def __init__(self, servers: Servers, rail: Rail) -> None:
        super().__init__("")
        self._servers = servers
        self._rail = rail

    async def request_charge(self, reference: str, amount: int, currency: str, callback_url: str) -> None:
        async def write() -> None:
            await self._rail.request_charge(reference, amount, currency, callback_url)

        await self._servers.write(object(), write, _away, _away)

    async def create_charge(self, order: ChargeOrder) -> PayableCharge:
        made: list[PayableCharge] = []

        async def write() -> None:
            made.append(await self._rail.create_charge(order))

        await self._servers.write(object(), write, _away, _away)
        return made[-1]

    async def static_code(self, order: StaticCodeOrder) -> str:
        return await self._rail.static_code(order)

    async def revise_charge(self, revision: ChargeRevision) -> None:
        async def write() -> None:
            await self._rail.revise_charge(revision)

        await self._servers.write(object(), write, _away, _away)

    async def request_return(self, order: ReturnOrder) -> ReturnState:
        made: list[ReturnState] = []

        async def write() -> None:
            made.append(await self._rail.request_return(order))

        await self._servers.write(object(), write, _away, _away)
        return made[-1]

    async def return_state(self, payment_id: str, reference: str) -> ReturnState | None:
        return await self._rail.return_state(payment_id, reference)

    async def answer_fraud_report(self, report_id: str, is_accepted: bool, reason: str | None) -> None:
        async def write() -> None:
            await self._rail.answer_fraud_report(report_id, is_accepted, reason)

        await self._servers.write(object(), write, _away, _away)

    async def remove_charge(self, reference: str, *, is_due: bool = False) -> None:
        async def write() -> None:
            await self._rail.remove_charge(reference, is_due=is_due)

        await self._servers.write(object(), write, _away, _away)


def _away() -> Unavailable:
    return Unavailable("the server did not answer in time")
