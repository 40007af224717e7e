"""The connection that reads. A read error makes the store unavailable, with the reason, until reading succeeds
again."""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path
from typing import Any

from shared.adapters.sqlite.schema import DATABASE, is_damage, open_for_reading
from shared.ports.documents import Unavailable
from shared.ports.lifecycle import Closed

log = logging.getLogger(__name__)
_Failed = tuple[str, Any]


class Reader(sqlite3.Connection):
    """A connection that reads committed data and cannot write. Raises Unavailable instead of SQLite's errors."""

    path: Path
    _failed: _Failed | None = None

    @classmethod
    def open(cls, data_dir: Path) -> Reader:
        """Open a reader of a data directory's database. Raises Unavailable."""
        try:
            reader = open_for_reading(data_dir, cls)
        except sqlite3.Error as error:
            raise Unavailable(f"{data_dir / DATABASE} cannot be opened: {error}") from None
        assert isinstance(reader, Reader)
        reader.path = data_dir / DATABASE
        return reader

    def execute(self, sql: str, parameters: Any = (), /) -> _Cursor:
        """Run a statement. It and the methods of the cursor that read rows raise Unavailable; Closed after `close`."""
        try:
            cursor = self.cursor(_Cursor)
        except sqlite3.ProgrammingError:
            raise Closed("the store is closed") from None
        return cursor.execute(sql, parameters)

    def trouble(self) -> str | None:
        """Return why reading fails, or None. Repeats the last failed read to find out."""
        if self._failed is None:
            return None
        try:
            # A damaged page stays in SQLite's cache until the next commit, also when the file is repaired.
            sqlite3.Connection.execute(self, "PRAGMA shrink_memory")
            self.execute(*self._failed).fetchall()
        except (Unavailable, sqlite3.Error) as error:
            return str(error)
        self._failed = None
        log.warning("%s can be read again", self.path)
        return None

    def refuse(self, error: sqlite3.Error, failed: _Failed) -> Unavailable:
        """Record an error of SQLite and return it as Unavailable."""
        self._failed = failed
        damaged = is_damage(error)
        remedy = ": stop the process and put the data directory back from a backup" if damaged else ""
        reason = f"{self.path} {'is damaged' if damaged else 'cannot be read'} ({error}){remedy}"
        log.error("%s", reason)
        return Unavailable(reason)


class _Cursor(sqlite3.Cursor):
    """A cursor whose reads raise Unavailable, when it is executed and for each row."""

    connection: Reader
    _statement: _Failed = ("", ())

    def execute(self, sql: str, parameters: Any = (), /) -> _Cursor:
        self._statement = (sql, parameters)
        try:
            super().execute(sql, parameters)
        except sqlite3.DatabaseError as error:
            raise self.connection.refuse(error, self._statement) from None
        return self

    def fetchone(self) -> Any:
        try:
            return super().fetchone()
        except sqlite3.DatabaseError as error:
            raise self.connection.refuse(error, self._statement) from None

    def fetchall(self) -> list[Any]:
        try:
            return super().fetchall()
        except sqlite3.DatabaseError as error:
            raise self.connection.refuse(error, self._statement) from None
