"""The documents port on MongoDB: a commit is one multi-document transaction.

Reads are outside the transaction, with read concern `majority`. When a handler has read an older state, the filters of
its writes refuse the commit (see `writes`). A transaction therefore lasts only from its first write to its commit.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

from shared.adapters.mongodb.combining import Combiner, Refused
from shared.adapters.mongodb.driver import DuplicateKey, Server, Transaction
from shared.adapters.mongodb.encoding import (
    TENANT,
    decode,
    decode_event,
    event_key,
    key_of,
    marker_key,
)
from shared.adapters.mongodb.queries import page_of
from shared.adapters.mongodb.schema import INBOX, OUTBOX, refusal
from shared.adapters.mongodb.statements import Delete, Statement, Stored, Update
from shared.adapters.mongodb.writes import Batch, Planned, batches
from shared.core.crash_points import reach
from shared.core.envelope import Envelope
from shared.ports.documents import (
    Collection,
    Commit,
    CommitOutcomeUnknown,
    D,
    GuardRefused,
    InboxMarker,
    Query,
    ReadToken,
    UnknownCollection,
    VersionConflict,
)
from shared.ports.lifecycle import Closed

log = logging.getLogger(__name__)
_COMMIT_ATTEMPTS: Final = 3
"""The number of times that a transaction is committed while its outcome is unknown. The driver itself repeats each of
them once."""
CLOSED: Final = "the connection to MongoDB is closed"
_BEHIND: Final = "0"
"""The character after "/", as the upper bound of the keys of a history."""


@dataclass(slots=True)
class Attempt:
    """A transaction whose outcome is unknown, of one commit or of several.

    The first of these commits that is retried uses its session, so that the server aborts the transaction if it is
    still open and refuses it if it arrives late. Then it is over.
    """

    transaction: Transaction
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    is_over: bool = False


class MongoDocuments:
    """The documents port on MongoDB."""

    answers_at_once: Final = False
    """A read waits for a server."""

    def __init__(self, server: Server, collections: Iterable[Collection[Any, ...]]) -> None:
        self._server = server
        self._collections = frozenset(collections)
        self._combiner = Combiner(self._write)
        self._in_progress: set[asyncio.Task[None]] = set()
        self._unmarked: list[tuple[Sequence[Envelope], asyncio.Future[None]]] = []
        self._marking: asyncio.Task[None] | None = None
        self._is_closed = False

    @property
    def read_token(self) -> None:
        """Return None: documents that a majority of the servers has are not lost."""
        return None

    # Reading

    async def get(self, collection: Collection[D, ...], tenant_id: str, id: str) -> D | None:
        """See Documents.get."""
        self._require(collection)
        found = await self._server.find_one(collection.name, {"_id": key_of(tenant_id, id), TENANT: tenant_id})
        return None if found is None else cast("D", decode(found))

    async def find(self, collection: Collection[D, ...], tenant_id: str | None, query: Query) -> Sequence[D]:
        """See Documents.find."""
        self._require(collection)
        page = page_of(collection, tenant_id, query)
        found = await self._server.find(collection.name, page.filter, sort=page.sort, limit=page.limit)
        return cast("list[D]", [decode(each) for each in found])

    async def history(self, tenant_id: str, name: str, after: str | None, limit: int) -> Sequence[Envelope]:
        """See Documents.history."""
        self._require()
        places = {"$gt": f"{name}/" if after is None else after, "$lt": f"{name}{_BEHIND}"}
        filter = {TENANT: tenant_id, "history": places}
        found = await self._server.find(OUTBOX, filter, sort=(("history", 1),), limit=limit)
        return [decode_event(each) for each in found]

    async def seen(self, marker: InboxMarker) -> bool:
        """See Documents.seen."""
        self._require()
        return await self._server.find_one(INBOX, {"_id": marker_key(marker)}, ("_id",)) is not None

    async def durable(self, read_token: ReadToken | None = None) -> None:  # noqa: ARG002 - the port's signature
        """Return immediately: a majority of the servers has everything that was read or committed."""
        self._require()

    def _require(self, *collections: Collection[Any, ...]) -> None:
        if self._is_closed:
            raise Closed(CLOSED)
        for collection in collections:
            if collection not in self._collections:
                raise UnknownCollection(collection)

    # Committing

    async def commit(self, commit: Commit) -> None:
        """See Documents.commit. When the caller is cancelled, the transaction still runs to its end."""
        self._require(*commit.collections())
        commit.check_fields()
        work = asyncio.create_task(self._commit(Planned(commit)))
        self._in_progress.add(work)
        work.add_done_callback(self._ended)
        await asyncio.shield(work)

    def _ended(self, work: asyncio.Task[None]) -> None:
        self._in_progress.discard(work)
        error = None if work.cancelled() else work.exception()
        # The caller has raised the same error, unless it was cancelled: then nothing else knows of it.
        if error is not None:
            log.debug("a commit failed: %s", error)

    async def _commit(self, planned: Planned) -> None:
        attempt = planned.commit.attempt
        if isinstance(attempt, Attempt):
            planned.commit.attempt = None
            if await self._repeated(attempt, planned):
                return
        if planned.shared:
            await self._combiner.commit(planned)
            return
        refused = await self._write([planned])
        if refused is not None:
            raise refused.error

    async def _repeated(self, attempt: Attempt, planned: Planned) -> bool:
        """Commit in the session of an attempt of unknown outcome. Return False when that attempt is over already."""
        async with attempt.turn, self._server.room:
            if attempt.is_over:
                return False
            attempt.transaction.begin()
            try:
                refused = await self._written([planned], attempt.transaction)
            except CommitOutcomeUnknown:
                planned.commit.attempt = attempt
                raise
            except BaseException:
                attempt.is_over = True
                raise
            attempt.is_over = True
            if refused is not None:
                raise refused.error
            return True

    async def _write(self, members: Sequence[Planned]) -> Refused | None:
        """Write commits in one transaction. Return the refusal, or None when it is committed."""
        async with self._server.room:
            transaction = await self._server.transaction()
            try:
                return await self._written(members, transaction)
            except CommitOutcomeUnknown:
                attempt = Attempt(transaction)
                for member in members:
                    member.commit.attempt = attempt
                raise

    async def _written(self, members: Sequence[Planned], transaction: Transaction) -> Refused | None:
        """Write commits in a transaction that has begun. Its session is ended unless the outcome is unknown."""
        planned = members[0].batches if len(members) == 1 else batches(members)
        try:
            for batch in planned:
                try:
                    counts = await transaction.write(batch.collection, batch.statements)
                except DuplicateKey as taken:
                    await transaction.abort()
                    error = refusal(batch.collection, taken.index, batch.ids[taken.position])
                    return Refused(error, batch.owners[taken.position])
                if batch.guarded and counts.matched + counts.deleted != batch.guarded:
                    await transaction.abort()
                    return Refused(await self._why_refused(batch), None)
            reach("documents.written")
            await _finish(transaction)
            reach("documents.committed")
        except CommitOutcomeUnknown:
            raise
        except BaseException:
            await transaction.abort()
            raise
        await transaction.end()
        return None

    async def _why_refused(self, batch: Batch) -> VersionConflict | GuardRefused:
        """Return the reason why the filters of a batch did not match all documents: a version, or a condition."""
        if batch.versions:
            filter = {"_id": {"$in": list(batch.versions)}}
            found = await self._server.find(batch.collection, filter, fields=("version",))
            if {each["_id"]: each["version"] for each in found} != dict(batch.versions):
                return VersionConflict(f"{batch.collection}: a document changed since it was read")
        return GuardRefused(f"{batch.collection}: a condition or a floor of {', '.join(batch.ids)} does not hold")

    async def settled(self, seconds: float) -> None:
        """Wait until no transaction is in progress, at most this number of seconds."""
        if self._in_progress:
            await asyncio.wait(self._in_progress, timeout=seconds)

    def close(self) -> None:
        """Let every method raise Closed. Transactions in progress come to their end."""
        self._is_closed = True

    # The outbox

    async def unsent(self, older_than: str, limit: int) -> Sequence[Envelope]:
        """See Documents.unsent."""
        self._require()
        filter: Stored = {"unsent": True, "time": {"$lt": older_than}}
        return [
            decode_event(each) for each in await self._server.find(OUTBOX, filter, sort=(("time", 1),), limit=limit)
        ]

    async def mark_sent(self, events: Sequence[Envelope]) -> None:
        """See Documents.mark_sent. An event without a place in a history is deleted.

        While a write of marks is in progress, further ones wait and are written together. It does not wait for a
        majority: a lost mark only causes another publication, which consumers recognise.
        """
        self._require()
        if not events:
            return
        marked: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._unmarked.append((events, marked))
        if self._marking is None:
            self._marking = asyncio.create_task(self._mark())
            self._in_progress.add(self._marking)
            self._marking.add_done_callback(self._ended)
        await marked

    async def _mark(self) -> None:
        try:
            while self._unmarked:
                waiting, self._unmarked = self._unmarked, []
                # Statements of one kind are one command.
                statements = sorted((_sent(event) for events, _ in waiting for event in events), key=_kind)
                error: Exception | None = None
                try:
                    await self._server.write(OUTBOX, statements, majority=False)
                except Exception as failed:  # noqa: BLE001 - any error is passed to the callers
                    error = failed
                for _, marked in waiting:
                    if not marked.done():
                        marked.set_result(None) if error is None else marked.set_exception(error)
        finally:
            self._marking = None


def _kind(statement: Statement) -> bool:
    return isinstance(statement, Update)


def _sent(event: Envelope) -> Statement:
    key = event_key(event)
    filter: Mapping[str, Any] = {"_id": key, TENANT: key[TENANT]}
    return Delete(dict(filter)) if event.history is None else Update(dict(filter), {"$unset": {"unsent": ""}})


async def _finish(transaction: Transaction) -> None:
    for attempt in range(_COMMIT_ATTEMPTS):
        try:
            await transaction.commit()
        except CommitOutcomeUnknown:
            if attempt == _COMMIT_ATTEMPTS - 1:
                raise
        else:
            return
