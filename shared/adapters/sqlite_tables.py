"""A collection's table: its definition, the statements on it, and what of it is on its way to disk."""

from __future__ import annotations

import re
import sqlite3
from typing import Any, Final

from shared.adapters.sqlite_writer import Row, Statement
from shared.ports.documents import Collection, Floor, Index

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")

Pending = tuple[int, int, str | None]
"""The version on disk before this batch (0: none), the new version, and the new body (None: deleted)."""


def field_expression(name: str) -> str:
    """The SQL by which a document's field is read, everywhere the same so that indexes on it are used."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} cannot be the name of a field that is searched by")
    return {"id": "id", "tenant_id": "tenant_id", "version": "version"}.get(name, f"json_extract(body, '$.{name}')")


def _floor_check(floor: Floor) -> str:
    terms = " + ".join(f"{int(sign)} * coalesce({field_expression(name)}, 0)" for name, sign in floor.terms)
    return f", CHECK ({terms} >= 0)"


class Table:
    """One collection in the embedded store."""

    def __init__(self, collection: Collection[Any], reader: sqlite3.Connection) -> None:
        if not _NAME.fullmatch(collection.name):
            raise ValueError(f"{collection.name!r} cannot be the name of a collection")
        self.name = collection.name
        self.sql_name = f"d_{collection.name}"
        self.floors = collection.floors
        self.indexes = collection.indexes
        self.read_rarely = collection.read_rarely
        self.unique = tuple(index.fields for index in collection.indexes if index.unique)
        self.gathered: dict[tuple[str, str], Pending] = {}
        self.in_flight: dict[tuple[str, str], Pending] = {}
        self.taken: dict[tuple[int, str, tuple[Any, ...]], str] = {}
        self.taken_in_flight: dict[tuple[int, str, tuple[Any, ...]], str] = {}
        self.on_disk = False
        self._defining: list[str] = []
        self._definitions = self._missing_definitions(reader)
        table = self.sql_name
        self.select = f"SELECT body FROM {table} WHERE tenant_id = ? AND id = ?"
        self.select_greatest = f"SELECT max(id) FROM {table} WHERE tenant_id = ?"
        self._insert = f"INSERT INTO {table} (tenant_id, id, version, body) VALUES (?, ?, ?, ?)"
        self._update = f"UPDATE {table} SET version = ?, body = ? WHERE tenant_id = ? AND id = ? AND version = ?"
        self._delete = f"DELETE FROM {table} WHERE tenant_id = ? AND id = ? AND version = ?"

    def same_as(self, collection: Collection[Any]) -> bool:
        """Whether this is the table of a collection with these indexes and floors."""
        return self.floors == collection.floors and self.indexes == collection.indexes

    def select_owner(self, fields: tuple[str, ...]) -> str:
        """The SQL that finds who has these values in a unique index."""
        conditions = " AND ".join(f"{field_expression(name)} = ?" for name in fields)
        return f"SELECT id FROM {self.sql_name} WHERE tenant_id = ? AND {conditions}"

    def _table_sql(self, name: str) -> str:
        floors = "".join(_floor_check(floor) for floor in self.floors)
        return (
            f"CREATE TABLE {name} (tenant_id TEXT NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL, "
            f"body TEXT NOT NULL CHECK (json_valid(body)), PRIMARY KEY (tenant_id, id){floors}) STRICT, WITHOUT ROWID"
        )

    def _index_sql(self, index: Index) -> tuple[str, str]:
        name = f"{self.sql_name}__{'__'.join(index.fields)}{'__u' if index.unique else ''}"
        columns = [field_expression(field) for field in index.fields]
        if index.unique:
            return name, f"CREATE UNIQUE INDEX {name} ON {self.sql_name} (tenant_id, {', '.join(columns)})"
        # The fields before the tenant: a sweep across tenants and a tenant's list both find their range in it.
        return name, f"CREATE INDEX {name} ON {self.sql_name} ({', '.join(columns)}, tenant_id, id)"

    def _missing_definitions(self, reader: sqlite3.Connection) -> list[str]:
        rows = reader.execute("SELECT name, type, sql FROM sqlite_master WHERE tbl_name = ?", (self.sql_name,))
        there = {name: (kind, sql) for name, kind, sql in rows if sql is not None}
        wanted = self._table_sql(self.sql_name)
        definitions: list[str] = []
        self.on_disk = self.sql_name in there
        if not self.on_disk:
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
        """Floors are part of the table's definition; other floors mean another table with the same rows."""
        kept = f"{self.sql_name}__before"
        return [
            f"ALTER TABLE {self.sql_name} RENAME TO {kept}",
            self._table_sql(self.sql_name),
            f"INSERT INTO {self.sql_name} SELECT tenant_id, id, version, body FROM {kept}",
            f"DROP TABLE {kept}",
        ]

    def drain(self) -> list[Statement]:
        """The statements of what was gathered, each document once however often it was written."""
        inserts: list[Row] = []
        updates: list[Row] = []
        deletes: list[Row] = []
        for (tenant_id, id), (base, version, body) in self.gathered.items():
            if body is None:
                if base:
                    deletes.append((tenant_id, id, base))
            elif not base:
                inserts.append((tenant_id, id, version, body))
            elif self.unique:
                # One document may take the unique value that another gives up in the same batch.
                deletes.append((tenant_id, id, base))
                inserts.append((tenant_id, id, version, body))
            else:
                updates.append((version, body, tenant_id, id, base))
        statements: list[Statement] = [(sql, [], False) for sql in self._definitions]
        if deletes:
            statements.append((self._delete, deletes, True))
        if updates:
            statements.append((self._update, updates, True))
        if inserts:
            statements.append((self._insert, inserts, True))
        self._defining, self._definitions = self._definitions, []
        self.in_flight, self.gathered = self.gathered, {}
        self.taken_in_flight, self.taken = self.taken, {}
        return statements

    def settled(self) -> None:
        """What was drained is on disk."""
        self.in_flight = {}
        self.taken_in_flight = {}
        if self._defining:
            self.on_disk = True
            self._defining = []

    def dropped(self, reader: sqlite3.Connection) -> None:
        """What was not on disk never happened."""
        self.gathered, self.in_flight = {}, {}
        self.taken, self.taken_in_flight = {}, {}
        self._defining = []
        self._definitions = self._missing_definitions(reader)

    def greatest_pending(self, tenant_id: str) -> str:
        """The greatest id of a tenant that is not on disk yet, or ""."""
        pending = (key for part in (self.gathered, self.in_flight) for key in part)
        return max((id for owner, id in pending if owner == tenant_id), default="")
