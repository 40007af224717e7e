"""The table of a collection: its definition, its statements, and its changes that are not on disk yet."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any, Final

import orjson

from shared.adapters.sqlite.hints import HINTS, NO_HINTS
from shared.adapters.sqlite.recent_ids import RecentIds
from shared.adapters.sqlite.writer import Row, Statement
from shared.ports.documents import Collection, Floor, Index

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
_OWN_COLUMNS: Final = ("id", "tenant_id", "version")
_PLAIN: Final = frozenset({str, type(None)})
_LANES: Final = 20_000
_IDS_OF_A_LANE: Final = 8
_INTEGERS: Final = range(-(2**63), 2**63)

Place = tuple[str, str]
"""The primary key of a document: tenant and id."""
Document = dict[str, Any]
Fields = tuple[Any, ...]
"""The values of a document's fields that have columns of their own."""
Pending = tuple[Document | None, Document | None, str | None]
"""A document that is not on disk yet: its state after the earlier batches, its new state, and the JSON text of the
latter. None: deleted."""


class Table:
    """One collection in the embedded store.

    A document is stored as its JSON text. The fields of indexes and floors have columns of their own, so that no
    statement parses the text.
    """

    def __init__(self, collection: Collection[Any, ...], reader: sqlite3.Connection) -> None:
        if not _NAME.fullmatch(collection.name):
            raise ValueError(f"{collection.name!r} cannot be the name of a collection")
        self.name = collection.name
        self.sql_name = f"d_{collection.name}"
        self.floors = collection.floors
        self.indexes = collection.indexes
        hints = HINTS.get(collection.name, NO_HINTS)
        self.read_rarely = hints.read_rarely
        self.unique = tuple(index for index in collection.indexes if index.unique)
        self.checked = bool(self.floors or self.unique)
        self.columns = _columns(collection)
        self._pick = _picker(self.columns)
        self.gathered: dict[Place, Pending] = {}
        self.in_flight: dict[Place, Pending] = {}
        self.taken: dict[tuple[int, str, tuple[Any, ...]], str] = {}
        self.taken_in_flight: dict[tuple[int, str, tuple[Any, ...]], str] = {}
        self._reader = reader
        self._grows_by = hints.grows_by
        bounds = {"keys": _LANES, "ids": _IDS_OF_A_LANE} if self._grows_by else {}
        self._recent: RecentIds[str] = RecentIds(self._greatest, **bounds)
        self.certainly_absent: Callable[[str, str], bool] = self._recent.certainly_absent
        """Called with tenant and id. Returns whether this document was certainly never stored; False: it must be
        searched."""
        self.note: Callable[[str, str], None] = self._recent.add
        """Called with the tenant and id of a document that is being stored."""
        if self._grows_by:
            self.certainly_absent, self.note = self._absent_in_lane, self._note_in_lane
        table = self.sql_name
        self.select = f"SELECT body FROM {table} WHERE tenant_id = ? AND id = ?"
        named = ", ".join(("tenant_id", "id", "version", "body", *map(_column, self.columns)))
        marks = ", ".join("?" * (4 + len(self.columns)))
        self._insert = f"INSERT INTO {table} ({named}) VALUES ({marks})"
        self._select_greatest = f"SELECT max(id) FROM {table} WHERE tenant_id = ? AND id >= ? AND id < ?"
        self._updates: dict[tuple[int, ...], str] = {}
        self._delete = f"DELETE FROM {table} WHERE tenant_id = ? AND id = ? AND version = ?"

    # Reads

    def fields_of(self, document: Mapping[str, Any]) -> Fields:
        """Return the document's values for the table's columns."""
        return _scalars(self._picked(document))

    def _picked(self, document: Mapping[str, Any]) -> Fields:
        try:
            return self._pick(document)
        except KeyError:
            return tuple(document.get(name) for name in self.columns)

    def expression(self, name: str) -> str:
        """Return the SQL expression of a document's field."""
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} cannot be the name of an indexed field")
        if name in _OWN_COLUMNS:
            return name
        return _column(name) if name in self.columns else _extracted(name)

    def select_owner(self, fields: tuple[str, ...]) -> str:
        """Return the SQL that finds the document with given values of a unique index."""
        conditions = " AND ".join(f"{self.expression(name)} = ?" for name in fields)
        return f"SELECT id FROM {self.sql_name} WHERE tenant_id = ? AND {conditions}"

    def read(self, place: Place) -> Document | None:
        """Return the document with its changes that are not on disk yet, or None."""
        pending = self.gathered.get(place) or self.in_flight.get(place)
        if pending is not None:
            body = pending[2]
        else:
            row = self._reader.execute(self.select, place).fetchone()
            body = None if row is None else row[0]
        return None if body is None else orjson.loads(body)

    # Ids that are certainly new (see recent_ids)

    def _lane(self, tenant_id: str, id: str) -> str:
        return f"{tenant_id} {id.partition(self._grows_by)[0]}"

    def _absent_in_lane(self, tenant_id: str, id: str) -> bool:
        return self._recent.certainly_absent(self._lane(tenant_id, id), id)

    def _note_in_lane(self, tenant_id: str, id: str) -> None:
        self._recent.add(self._lane(tenant_id, id), id)

    def _greatest(self, lane: str) -> str:
        """Return the greatest id of a lane, or "" for none. A lane is a tenant, or its ids with the same prefix."""
        tenant_id, _, prefix = lane.partition(" ")
        start = f"{prefix}{self._grows_by}"
        greatest = ""
        if self._recent.forgets:
            pending = (key for part in (self.gathered, self.in_flight) for key in part)
            greatest = max((id for owner, id in pending if owner == tenant_id and id.startswith(start)), default="")
        # "\U0010ffff" is greater than every character that can follow in an id.
        row = self._reader.execute(self._select_greatest, (tenant_id, start, start + "\U0010ffff")).fetchone()
        return max(greatest, row[0] or "")

    # Table definitions

    def _table_sql(self, name: str) -> str:
        columns = "".join(f", {_column(column)} ANY" for column in self.columns)
        floors = "".join(_floor_check(floor) for floor in self.floors)
        return (
            f"CREATE TABLE {name} (tenant_id TEXT NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL, "
            f"body TEXT NOT NULL{columns}, PRIMARY KEY (tenant_id, id){floors}) STRICT, WITHOUT ROWID"
        )

    def _index_sql(self, index: Index) -> tuple[str, str]:
        name = f"{self.sql_name}__{index.name}{'__u' if index.unique else ''}"
        columns = [field if field in _OWN_COLUMNS else _column(field) for field in index.fields]
        listed = ", ".join(("tenant_id", *columns))
        if index.unique:
            return name, f"CREATE UNIQUE INDEX {name} ON {self.sql_name} ({listed})"
        where = f" WHERE {' AND '.join(f'{column} IS NOT NULL' for column in columns)}" if index.sparse else ""
        return name, f"CREATE INDEX {name} ON {self.sql_name} ({listed}, id){where}"

    def missing_definitions(self) -> list[str]:
        """Return the statements that create this table and its indexes where they are missing or different."""
        rows = self._reader.execute("SELECT name, type, sql FROM sqlite_master WHERE tbl_name = ?", (self.sql_name,))
        there = {name: (kind, sql) for name, kind, sql in rows if sql is not None}
        wanted = self._table_sql(self.sql_name)
        definitions: list[str] = []
        if self.sql_name not in there:
            definitions.append(wanted)
        elif there[self.sql_name][1] != wanted:
            definitions += self._rebuild()
            there.clear()
        indexes = dict(self._index_sql(index) for index in self.indexes)
        definitions += [
            f"DROP INDEX {name}" for name, (kind, sql) in there.items() if kind == "index" and indexes.get(name) != sql
        ]
        definitions += [sql for name, sql in indexes.items() if there.get(name, ("", ""))[1] != sql]
        return definitions

    def _rebuild(self) -> list[str]:
        """Return the statements that make a new table with the same rows: its floors or indexed fields have changed."""
        kept = f"{self.sql_name}__before"
        extracted = "".join(f", {_extracted(name)}" for name in self.columns)
        return [
            f"ALTER TABLE {self.sql_name} RENAME TO {kept}",
            self._table_sql(self.sql_name),
            f"INSERT INTO {self.sql_name} SELECT tenant_id, id, version, body{extracted} FROM {kept}",
            f"DROP TABLE {kept}",
        ]

    # Calls of the journal

    def drain(self) -> list[Statement]:
        """Return the statements for the gathered changes: one for each document, however often it was written."""
        inserts: list[Row] = []
        updates: dict[str, list[Row]] = {}
        deletes: list[Row] = []
        for (tenant_id, id), (before, after, body) in self.gathered.items():
            base = 0 if before is None else before["version"]
            if after is None:
                if base:
                    deletes.append((tenant_id, id, base))
            elif before is None:
                inserts.append((tenant_id, id, after["version"], body, *self.fields_of(after)))
            elif self.unique:
                # A document may take a unique value that another document releases in the same batch.
                deletes.append((tenant_id, id, base))
                inserts.append((tenant_id, id, after["version"], body, *self.fields_of(after)))
            else:
                sql, changed = self._update(self._picked(before), self._picked(after))
                updates.setdefault(sql, []).append((after["version"], body, *changed, tenant_id, id, base))
        statements: list[Statement] = []
        if deletes:
            statements.append((self._delete, deletes, True))
        statements += [(sql, rows, True) for sql, rows in updates.items()]
        if inserts:
            statements.append((self._insert, inserts, True))
        self.in_flight, self.gathered = self.gathered, {}
        self.taken_in_flight, self.taken = self.taken, {}
        return statements

    def _update(self, old: Fields, new: Fields) -> tuple[str, Fields]:
        """Return the UPDATE of only the columns that differ, and their values. Each updated column costs its
        indexes."""
        changed = tuple([place for place, value in enumerate(old) if value != new[place]])
        sql = self._updates.get(changed)
        if sql is None:
            columns = "".join(f", {_column(self.columns[place])} = ?" for place in changed)
            where = "tenant_id = ? AND id = ? AND version = ?"
            sql = self._updates[changed] = f"UPDATE {self.sql_name} SET version = ?, body = ?{columns} WHERE {where}"
        return sql, _scalars(tuple([new[place] for place in changed]))

    def settled(self) -> None:
        """The changes in flight are on disk."""
        self.in_flight = {}
        self.taken_in_flight = {}

    def dropped(self) -> None:
        """All changes that are not on disk are lost."""
        self.gathered, self.in_flight = {}, {}
        self.taken, self.taken_in_flight = {}, {}
        self._recent.clear()


def _columns(collection: Collection[Any, ...]) -> tuple[str, ...]:
    """Return the fields of indexes and floors, without those that every table has as columns."""
    indexed = [name for index in collection.indexes for name in index.fields]
    summed = [name for floor in collection.floors for name, _ in floor.terms]
    names = dict.fromkeys(name for name in (*indexed, *summed) if name not in _OWN_COLUMNS)
    for name in names:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} cannot be the name of an indexed field")
    return tuple(names)


def _picker(names: tuple[str, ...]) -> Callable[[Mapping[str, Any]], Fields]:
    """Return a function that returns these fields of a document. It raises KeyError when one is missing."""
    if len(names) > 1:
        return itemgetter(*names)
    return lambda document: tuple([document[name] for name in names])


def _column(name: str) -> str:
    return f"f_{name}"


def _extracted(name: str) -> str:
    return f"json_extract(body, '$.{name}')"


def _scalars(values: Fields) -> Fields:
    return values if _PLAIN.issuperset(map(type, values)) else tuple(map(_scalar, values))


def _scalar(value: Any) -> Any:
    """Return a value as json_extract returns it: an object or array as text, an integer beyond 64 bits as a real."""
    if value is None or isinstance(value, str | float):
        return value
    if isinstance(value, int):
        return value if value in _INTEGERS else float(value)
    return orjson.dumps(value).decode()


def _floor_check(floor: Floor) -> str:
    terms = " + ".join(f"{int(sign)} * coalesce({_column(name)}, 0)" for name, sign in floor.terms)
    return f", CHECK ({terms} >= 0)"
