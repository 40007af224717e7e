"""The documents port on the embedded store. A commit is checked and applied in memory without suspension.

Memory decides while the store is open. A document that is not in memory is read from SQLite synchronously, so neither
a hit nor a miss suspends the handler. A document is serialised in the commit that writes it: if it is not JSON, only
its own handler fails and not the batch of several commits.
"""

from __future__ import annotations

import sqlite3
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import orjson

from shared.adapters.sqlite.journal import Journal
from shared.adapters.sqlite.log import SqliteLog
from shared.adapters.sqlite.queries import select_page
from shared.adapters.sqlite.tables import Table
from shared.adapters.sqlite.writer import Statement
from shared.core.crash_points import reach
from shared.core.envelope import Envelope
from shared.ports.documents import (
    PRIMARY_INDEX,
    AlreadyApplied,
    AlreadyExists,
    Change,
    Collection,
    Commit,
    D,
    Expectation,
    GuardRefused,
    InboxMarker,
    Query,
    ReadToken,
    Unavailable,
    UnknownCollection,
    VersionConflict,
)

_UNKNOWN: Final = object()
_MAX_INTEGER: Final = 2**63 - 1

Document = dict[str, Any]
Key = tuple[str, str, str]
"""The names of a document: collection, tenant, id."""


Place = tuple[int, str, tuple[Any, ...]]
"""A unique value: the number of the index, the tenant, and the values of its fields."""

_Claim = tuple[Table, Place, str]
_Writes = dict[Key, tuple[Table, Document | None, Document | None, str | None]]
"""The changes of a commit that is being checked: each document before and after it, and the latter as JSON text."""


class SqliteDocuments:
    """The documents port on SQLite. Everything but `find` and `durable` runs without suspension."""

    answers_at_once: Final = True
    """A document comes from memory or this machine's disk."""

    def __init__(
        self,
        journal: Journal,
        reader: sqlite3.Connection,
        log: SqliteLog,
        collections: Iterable[Collection[Any, ...]],
        *,
        cached: int,
    ) -> None:
        """`cached` is the greatest number of documents on disk that stay in memory. Call `define` next."""
        self._journal = journal
        self._reader = reader
        self._log = log
        self._cached = cached
        self._tables = {collection: Table(collection, reader) for collection in collections}
        self._definitions = [sql for table in self._tables.values() for sql in table.missing_definitions()]
        self._memory: OrderedDict[Key, Any] = OrderedDict()
        """A cache: each of its documents is also in its table, or about to be written to it."""
        self.misses = 0
        self.read_token: ReadToken | None = ReadToken(journal.generation)
        """Changes when memory is dropped: documents that were read before may not have become durable."""

    async def define(self) -> None:
        """Create the missing tables and indexes of all collections. Raises Unavailable when they cannot be written."""
        if self._definitions:
            self._journal.touch(0)
            await self._journal.durable()

    async def get(self, collection: Collection[D, ...], tenant_id: str, id: str) -> D | None:
        key = (collection.name, tenant_id, id)
        document: Any = self._memory.get(key, _UNKNOWN)
        if document is not _UNKNOWN:
            self._memory.move_to_end(key)
        else:
            table = self._table(collection)
            document = None if table.certainly_absent(tenant_id, id) else self._load(table, key)
        return document  # type: ignore[no-any-return]  # a collection's documents are of its type

    def read(self, collection: Collection[D, ...], tenant_id: str, id: str) -> D | None:
        """Return the result of `get`, outside a coroutine."""
        try:
            self.get(collection, tenant_id, id).send(None)
        except StopIteration as finished:
            return finished.value  # type: ignore[no-any-return]  # what `get` returns
        raise AssertionError("`get` does not suspend")

    async def find(self, collection: Collection[D, ...], tenant_id: str | None, query: Query) -> Sequence[D]:
        table = self._table(collection)
        collection.check_query(query)
        await self._journal.durable()
        sql, parameters = select_page(table, tenant_id, query)
        return [orjson.loads(row[0]) for row in self._reader.execute(sql, parameters).fetchall()]

    async def history(self, tenant_id: str, name: str, after: str | None, limit: int) -> Sequence[Envelope]:
        await self._journal.durable()
        return self._log.history(tenant_id, name, after, limit)

    async def seen(self, marker: InboxMarker) -> bool:
        self._require_open()
        return self._log.applied(marker)

    async def durable(self, read_token: ReadToken | None = None) -> None:
        await self._journal.durable()
        if read_token is not None and read_token != self.read_token:
            raise Unavailable("the documents that were read are lost")

    async def unsent(self, older_than: str, limit: int) -> Sequence[Envelope]:  # noqa: ARG002 - the port's signature
        """Return nothing: the broker reads the log of this store itself (see SqliteLog)."""
        self._require_open()
        return ()

    async def mark_sent(self, events: Sequence[Envelope]) -> None:  # noqa: ARG002 - as above
        """Do nothing: this store has no list of unsent events, and `unsent` returns none."""
        self._require_open()

    async def commit(self, commit: Commit) -> None:
        if self._journal.full:
            await self._journal.room()
        self.decide(commit)

    def decide(self, commit: Commit) -> None:
        """Check and apply a commit without suspension. Raises as `commit` does, and TypeError for a value that is not
        JSON."""
        commit.check_fields()
        journal, log = self._journal, self._log
        if commit.read_token is not None and commit.read_token != self.read_token:
            raise VersionConflict("the documents that were read are lost")
        marker = commit.inbox
        if marker is not None and log.applied(marker):
            raise AlreadyApplied(f"{marker.consumer} has applied {marker.event_id}")
        if commit.expects:
            self._check_expected(commit.expects)
        events = commit.events
        writes = self._stage(commit)
        taken = self._check(writes)
        rows = log.rows_of(events) if events else []
        size = self._apply(writes) + 512 * len(rows) + 128
        for table, claimed, id in taken:
            table.taken[claimed] = id
        if marker is not None:
            log.mark(marker)
        first = log.append(events, rows) if events else 0
        journal.touch(size)
        reach("store.decided")
        if events:
            log.announce(first, events)

    # Checks, which change nothing

    def _check_expected(self, expects: Sequence[Expectation]) -> None:
        for collection, tenant_id, id, version in expects:
            current = self._known(self._table(collection), (collection.name, tenant_id, id))
            if current is None or current["version"] != version:
                raise VersionConflict(f"{collection.name}/{id} changed since it was read")

    def _stage(self, commit: Commit) -> _Writes:
        """Return each document of the commit before and after it, and its JSON text."""
        writes: _Writes = {}
        for collection, document in commit.inserts:
            key = (collection.name, document["tenant_id"], document["id"])
            table = self._tables.get(collection) or self._table(collection)
            if key in writes or not self._absent(table, key):
                raise AlreadyExists(collection.name, PRIMARY_INDEX, document["id"])
            writes[key] = (table, None, document, orjson.dumps(document).decode())
        for collection, document in commit.replaces:
            key = (collection.name, document["tenant_id"], document["id"])
            table, before, current = self._current(writes, collection, key)
            if current is None or current["version"] != document["version"]:
                raise VersionConflict(f"{collection.name}/{document['id']} changed since it was read")
            after = {**document, "version": document["version"] + 1}
            writes[key] = (table, before, after, orjson.dumps(after).decode())
        for change in commit.changes:
            key = (change.collection.name, commit.tenant_id, change.id)
            table, before, current = self._current(writes, change.collection, key)
            after = _changed(current, change)
            writes[key] = (table, before, after, orjson.dumps(after).decode())
        for collection, id in commit.deletes:
            key = (collection.name, commit.tenant_id, id)
            table, before, current = self._current(writes, collection, key)
            if current is not None:
                writes[key] = (table, before, None, None)
        return writes

    def _current(
        self, writes: _Writes, collection: Collection[Any, ...], key: Key
    ) -> tuple[Table, Document | None, Document | None]:
        """Return the table, the document before this commit, and the document with the commit's changes so far."""
        table = self._tables.get(collection) or self._table(collection)
        if key in writes:
            return table, writes[key][1], writes[key][2]
        current = self._known(table, key)
        return table, current, current

    def _absent(self, table: Table, key: Key) -> bool:
        current = self._memory.get(key, _UNKNOWN)
        if current is not _UNKNOWN:
            return current is None
        return table.certainly_absent(key[1], key[2]) or self._load(table, key) is None

    def _check(self, writes: _Writes) -> list[_Claim]:
        """Check the floors and unique indexes. Returns the unique values that the commit takes.

        Raises GuardRefused or AlreadyExists.
        """
        taken: list[_Claim] = []
        for key, (table, before, after, _) in writes.items():
            if after is None or not table.checked:
                continue
            if table.floors:
                _check_floors(table, after)
            if table.unique:
                taken += self._check_unique(writes, table, key, before, after)
        if len(taken) > 1:
            owners: dict[tuple[str, Place], str] = {}
            for table, place, id in taken:
                if owners.setdefault((table.name, place), id) != id:
                    raise AlreadyExists(table.name, table.unique[place[0]].name, id)
        return taken

    def _check_unique(
        self, writes: _Writes, table: Table, key: Key, before: Document | None, after: Document
    ) -> list[_Claim]:
        taken: list[_Claim] = []
        for position, index in enumerate(table.unique):
            fields = index.fields
            values = _values(after, fields)
            if values is None or (before is not None and _values(before, fields) == values):
                continue
            place = (position, key[1], values)
            for owner in self._owners(table, place) - {key[2]}:
                owned = (table.name, key[1], owner)
                current = writes[owned][2] if owned in writes else self._known(table, owned)
                if current is not None and _values(current, fields) == values:
                    raise AlreadyExists(table.name, index.name, key[2])
            taken.append((table, place, key[2]))
        return taken

    def _owners(self, table: Table, place: Place) -> set[str]:
        """Return the ids of documents that may have these values, among those on disk and those not yet written. Values
        in memory are checked elsewhere."""
        owners = {part[place] for part in (table.taken, table.taken_in_flight) if place in part}
        position, tenant_id, values = place
        sql = table.select_owner(table.unique[position].fields)
        owners.update(row[0] for row in self._reader.execute(sql, (tenant_id, *values)).fetchall())
        return owners

    def _known(self, table: Table, key: Key) -> Document | None:
        current: Document | None = self._memory.get(key, _UNKNOWN)
        return self._load(table, key) if current is _UNKNOWN else current

    # Applying, which cannot fail

    def _apply(self, writes: _Writes) -> int:
        """Store every document in memory and for the writer. Returns their approximate size in bytes."""
        memory, size = self._memory, 0
        for key, (table, before, after, body) in writes.items():
            _, tenant_id, id = key
            place = (tenant_id, id)
            pending = table.gathered.get(place)
            table.gathered[place] = (before if pending is None else pending[0], after, body)
            if body is not None:
                size += len(body)
            if table.read_rarely:
                memory.pop(key, None)
            else:
                memory[key] = after
            if before is None:
                table.note(tenant_id, id)
        return size

    # Memory

    def _table(self, collection: Collection[Any, ...]) -> Table:
        table = self._tables.get(collection)
        if table is None:
            self._require_open()
            raise UnknownCollection(collection)
        return table

    def close(self) -> None:
        """Remove all documents from memory: every method raises Closed from now on. The journal is closed before."""
        self._memory.clear()
        self._tables.clear()

    def _require_open(self) -> None:
        if self._journal.is_closed:
            raise self._journal.refusal()

    def _load(self, table: Table, key: Key) -> Document | None:
        self.misses += 1
        document = self._memory[key] = table.read(key[1:])
        if len(self._memory) > self._cached:
            self._trim()
        return document

    def _trim(self) -> None:
        for _ in range(len(self._memory) - self._cached):
            self._memory.popitem(last=False)

    # Calls of the journal

    def drain(self) -> list[Statement]:
        statements: list[Statement] = [(sql, [], False) for sql in self._definitions]
        self._definitions = []
        for table in self._tables.values():
            statements += table.drain()
        return statements

    def settled(self) -> None:
        for table in self._tables.values():
            table.settled()
        if len(self._memory) > self._cached:
            self._trim()

    def dropped(self) -> None:
        self.read_token = ReadToken(self._journal.generation)
        self._memory.clear()
        for table in self._tables.values():
            table.dropped()


def _changed(current: Document | None, change: Change) -> Document:
    if current is None:
        raise GuardRefused(f"there is no {change.collection.name}/{change.id}")
    for name, value in change.where.items():
        if current.get(name) != value:
            raise GuardRefused(f"{change.collection.name}/{change.id}: {name} is not {value!r}")
    document = {**current, **change.assign, "version": current["version"] + 1}
    for name, increment in change.increments.items():
        total = document.get(name, 0) + increment
        if not -_MAX_INTEGER <= total <= _MAX_INTEGER:
            raise GuardRefused(f"{change.collection.name}/{change.id}: {name} would leave 64 bits")
        document[name] = total
    return document


def _check_floors(table: Table, document: Document) -> None:
    for floor in table.floors:
        total = 0
        for name, sign in floor.terms:
            total += sign * (document.get(name) or 0)
        if total < 0:
            raise GuardRefused(f"{table.name}/{document['id']} would fall {-total} below its floor")


def _values(document: Mapping[str, Any], fields: tuple[str, ...]) -> tuple[Any, ...] | None:
    values = tuple(document.get(name) for name in fields)
    return None if None in values else values
