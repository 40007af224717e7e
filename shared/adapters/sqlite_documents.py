"""Documents on the embedded store: decided in memory, where nothing comes between a check and its effect.

Memory is the only authority while the store is open. A document that is not in it is read from SQLite on the
spot, so a hit and a miss alike suspend nobody. Each document is serialised in the commit that writes it: what is
no JSON fails its own handler and not the batch of all.
"""

from __future__ import annotations

import sqlite3
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, cast

import orjson

from shared.adapters.sqlite_journal import Journal
from shared.adapters.sqlite_log import SqliteLog
from shared.adapters.sqlite_queries import select_page
from shared.adapters.sqlite_recent import RecentIds
from shared.adapters.sqlite_tables import Table
from shared.adapters.sqlite_writer import Statement
from shared.crash_points import reach
from shared.envelope import Envelope
from shared.ports.documents import (
    AlreadyApplied,
    AlreadyExists,
    Change,
    Collection,
    Commit,
    D,
    GuardRefused,
    InboxMarker,
    Query,
    VersionConflict,
)

_UNKNOWN: Final = object()
_MAX_INTEGER: Final = 2**63 - 1

Document = dict[str, Any]
Key = tuple[str, str, str]
"""Collection, tenant, id."""


class _Staged:
    """A commit while it is checked: each document as it was and as it would be."""

    __slots__ = ("after", "before")

    def __init__(self) -> None:
        self.before: dict[Key, Document | None] = {}
        self.after: dict[Key, Document | None] = {}


class SqliteDocuments:
    """The documents port on SQLite. Everything but `find` and `durable` runs without suspension."""

    def __init__(self, journal: Journal, reader: sqlite3.Connection, log: SqliteLog, *, cached: int) -> None:
        """`cached` bounds how many documents that are on disk stay in memory."""
        self._journal = journal
        self._reader = reader
        self._log = log
        self._cached = cached
        self._tables: dict[str, Table] = {}
        self._memory: OrderedDict[Key, Document | None] = OrderedDict()
        self._recent: RecentIds[tuple[str, str]] = RecentIds(self._greatest)
        self.misses = 0

    @property
    def generation(self) -> int:
        """Grows when memory is dropped: what was read before may never have been."""
        return self._journal.generation

    async def get(self, collection: Collection[D], tenant_id: str, id: str) -> D | None:
        key = (collection.name, tenant_id, id)
        document = self._memory.get(key, _UNKNOWN)
        if document is _UNKNOWN:
            document = self._load(self._table(collection), key)
        else:
            self._memory.move_to_end(key)
        return cast("D | None", document)

    async def find(self, collection: Collection[D], tenant_id: str | None, query: Query) -> Sequence[D]:
        table = self._table(collection)
        await self._journal.durable()
        if not table.on_disk:
            return []
        sql, parameters = select_page(table.sql_name, tenant_id, query)
        return [orjson.loads(row[0]) for row in self._reader.execute(sql, parameters).fetchall()]

    async def seen(self, marker: InboxMarker) -> bool:
        return self._log.applied(marker.consumer, marker.source, marker.event_id)

    async def durable(self) -> None:
        await self._journal.durable()

    async def unsent(self, older_than: str, limit: int) -> Sequence[Envelope]:  # noqa: ARG002 - the port's signature
        """None: the log of this store is itself what the broker reads (see SqliteLog)."""
        return ()

    async def mark_sent(self, events: Sequence[Envelope]) -> None:
        """Nothing to note: see `unsent`."""

    async def commit(self, commit: Commit) -> None:
        if self._journal.full:
            await self._journal.room()
        self.decide(commit)

    def decide(self, commit: Commit) -> None:
        """Check and apply a commit at once. Raises as `commit` does, and TypeError for what is no JSON."""
        if commit.generation is not None and commit.generation != self._journal.generation:
            raise VersionConflict("what was read is not there any more")
        marker = commit.inbox
        if marker is not None and self._log.applied(marker.consumer, marker.source, marker.event_id):
            raise AlreadyApplied(f"{marker.consumer} has applied {marker.event_id}")
        staged = self._stage(commit)
        self._check_floors(staged)
        taken = self._check_unique(staged)
        bodies = {
            key: None if document is None else orjson.dumps(document).decode() for key, document in staged.after.items()
        }
        prepared = self._log.prepare(commit.events)
        self._apply(staged, bodies, taken)
        if marker is not None:
            self._log.mark(marker)
        logged = self._log.append(commit.events, prepared) if prepared else []
        size = sum(len(body or "") for body in bodies.values()) + sum(len(row[-1]) + 512 for row in prepared)
        self._journal.touch(size + 128)
        reach("store.decided")
        if logged:
            self._log.announce(logged)

    # Checking: nothing is changed here

    def _stage(self, commit: Commit) -> _Staged:
        staged = _Staged()
        tenant_id = commit.tenant_id
        for collection, document in commit.inserts:
            key = (collection.name, document["tenant_id"], document["id"])
            if key in staged.after or not self._absent(self._table(collection), key):
                raise AlreadyExists(collection.name, document["id"])
            staged.before[key] = None
            staged.after[key] = document
        for collection, document in commit.replaces:
            key = (collection.name, document["tenant_id"], document["id"])
            current = self._current(staged, collection, key)
            if current is None or current["version"] != document["version"]:
                raise VersionConflict(f"{collection.name}/{document['id']} changed since it was read")
            staged.after[key] = {**document, "version": document["version"] + 1}
        for change in commit.changes:
            key = (change.collection.name, tenant_id, change.id)
            staged.after[key] = _changed(self._current(staged, change.collection, key), change)
        for collection, id in commit.deletes:
            key = (collection.name, tenant_id, id)
            if self._current(staged, collection, key) is not None:
                staged.after[key] = None
        return staged

    def _current(self, staged: _Staged, collection: Collection[Any], key: Key) -> Document | None:
        if key in staged.after:
            return staged.after[key]
        current = self._memory.get(key, _UNKNOWN)
        if current is _UNKNOWN:
            current = self._load(self._table(collection), key)
        elif collection.name not in self._tables:
            self._table(collection)
        staged.before[key] = cast("Document | None", current)
        return cast("Document | None", current)

    def _absent(self, table: Table, key: Key) -> bool:
        current = self._memory.get(key, _UNKNOWN)
        if current is not _UNKNOWN:
            return current is None
        if self._recent.certainly_absent((table.name, key[1]), key[2]):
            return True
        return self._load(table, key) is None

    def _check_floors(self, staged: _Staged) -> None:
        for key, document in staged.after.items():
            floors = self._tables[key[0]].floors
            if not floors or document is None:
                continue
            for floor in floors:
                total = sum(sign * (document.get(name) or 0) for name, sign in floor.terms)
                if total < 0:
                    raise GuardRefused(f"{key[0]}/{key[2]} would fall {-total} below its floor")

    def _check_unique(self, staged: _Staged) -> list[tuple[Table, tuple[int, str, tuple[Any, ...]], str]]:
        taken: list[tuple[Table, tuple[int, str, tuple[Any, ...]], str]] = []
        claims: dict[tuple[str, int, str, tuple[Any, ...]], str] = {}
        for key, document in staged.after.items():
            table = self._tables[key[0]]
            if not table.unique or document is None:
                continue
            before = staged.before.get(key)
            for position, fields in enumerate(table.unique):
                values = _values(document, fields)
                if values is None or (before is not None and _values(before, fields) == values):
                    continue
                place = (position, key[1], values)
                owner = claims.setdefault((table.name, *place), key[2])
                if owner != key[2]:
                    raise AlreadyExists(table.name, owner)
                self._check_owners(staged, table, place, key[2])
                taken.append((table, place, key[2]))
        return taken

    def _check_owners(
        self, staged: _Staged, table: Table, place: tuple[int, str, tuple[Any, ...]], claimant: str
    ) -> None:
        position, tenant_id, values = place
        fields = table.unique[position]
        owners = {table.taken.get(place), table.taken_in_flight.get(place)}
        if table.on_disk:
            rows = self._reader.execute(table.select_owner(fields), (tenant_id, *values)).fetchall()
            owners.update(row[0] for row in rows)
        for owner in owners - {None, claimant}:
            key = (table.name, tenant_id, cast("str", owner))
            current = staged.after[key] if key in staged.after else self._known(table, key)
            if current is not None and _values(current, fields) == values:
                raise AlreadyExists(table.name, key[2])

    def _known(self, table: Table, key: Key) -> Document | None:
        current = self._memory.get(key, _UNKNOWN)
        return cast("Document | None", self._load(table, key) if current is _UNKNOWN else current)

    # Applying: nothing can fail here

    def _apply(
        self,
        staged: _Staged,
        bodies: Mapping[Key, str | None],
        taken: Iterable[tuple[Table, tuple[int, str, tuple[Any, ...]], str]],
    ) -> None:
        memory = self._memory
        for key, document in staged.after.items():
            table = self._tables[key[0]]
            before = staged.before[key]
            place = key[1:]
            pending = table.gathered.get(place)
            base = pending[0] if pending is not None else before["version"] if before is not None else 0
            table.gathered[place] = (base, document["version"] if document is not None else 0, bodies[key])
            memory[key] = document
            if before is None:
                self._recent.add((key[0], key[1]), key[2])
        for table, claimed, id in taken:
            table.taken[claimed] = id

    # Memory

    def _table(self, collection: Collection[Any]) -> Table:
        table = self._tables.get(collection.name)
        if table is None:
            table = self._tables[collection.name] = Table(collection, self._reader)
        elif table.floors is not collection.floors and not table.same_as(collection):
            raise ValueError(f"there are two different collections of the name {collection.name}")
        return table

    def _load(self, table: Table, key: Key) -> Document | None:
        self.misses += 1
        document: Document | None = None
        if table.on_disk:
            row = self._reader.execute(table.select, key[1:]).fetchone()
            if row is not None:
                document = orjson.loads(row[0])
        self._memory[key] = document
        if len(self._memory) > self._cached:
            self._trim()
        return document

    def _trim(self) -> None:
        memory, tables = self._memory, self._tables
        for _ in range(len(memory) - self._cached):
            key, document = memory.popitem(last=False)
            table, place = tables[key[0]], key[1:]
            if place in table.gathered or place in table.in_flight:
                memory[key] = document

    def _greatest(self, key: tuple[str, str]) -> str:
        table = self._tables[key[0]]
        stored = ""
        if table.on_disk:
            stored = self._reader.execute(table.select_greatest, (key[1],)).fetchone()[0] or ""
        return max(stored, table.greatest_pending(key[1]))

    # The journal's part

    def drain(self) -> list[Statement]:
        statements: list[Statement] = []
        for table in self._tables.values():
            statements += table.drain()
        return statements

    def settled(self) -> None:
        for table in self._tables.values():
            table.settled()
        if len(self._memory) > self._cached:
            self._trim()

    def dropped(self) -> None:
        self._memory.clear()
        self._recent.clear()
        for table in self._tables.values():
            table.dropped(self._reader)


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


def _values(document: Mapping[str, Any], fields: tuple[str, ...]) -> tuple[Any, ...] | None:
    values = tuple(document.get(name) for name in fields)
    return None if None in values else values
