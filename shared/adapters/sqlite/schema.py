"""The file of the embedded store: its path, tables and versions, and the connections to it.

The writer process imports this module, so it imports only the standard library.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

DATABASE: Final = "lastro.db"
LOCK: Final = "lastro.lock"
_BUSY_MILLISECONDS: Final = 5000
_MAX_WAL_BYTES: Final = 64 * 1024 * 1024

_LOG: Final = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE events (
    sequence INTEGER PRIMARY KEY,
    id TEXT NOT NULL, source TEXT NOT NULL, type TEXT NOT NULL, subject TEXT, time TEXT,
    tenant_id TEXT, extensions TEXT NOT NULL, data BLOB NOT NULL
) STRICT;

CREATE TABLE inbox (
    consumer TEXT NOT NULL, source TEXT NOT NULL, event_id TEXT NOT NULL,
    PRIMARY KEY (consumer, source, event_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE acknowledgements (
    sequence INTEGER NOT NULL, consumer TEXT NOT NULL, PRIMARY KEY (sequence, consumer)
) STRICT, WITHOUT ROWID;

CREATE TABLE nonces (
    issued INTEGER NOT NULL, tenant_id TEXT NOT NULL, nonce BLOB NOT NULL, expires INTEGER NOT NULL,
    PRIMARY KEY (issued, tenant_id, nonce)
) STRICT, WITHOUT ROWID;
"""

_LEDGER: Final = """
CREATE TABLE ledger_accounts (
    tenant_id TEXT NOT NULL, account_id TEXT NOT NULL, currency TEXT NOT NULL,
    PRIMARY KEY (tenant_id, account_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE transfers (
    tenant_id TEXT NOT NULL, id TEXT NOT NULL, cause_type TEXT NOT NULL, cause_id TEXT NOT NULL,
    payment_id TEXT, description TEXT, recorded_at TEXT NOT NULL,
    refused TEXT, lines TEXT NOT NULL CHECK (json_valid(lines)),
    PRIMARY KEY (tenant_id, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE entries (
    tenant_id TEXT NOT NULL, account_id TEXT NOT NULL, sequence INTEGER NOT NULL CHECK (sequence >= 1),
    transfer_id TEXT NOT NULL, leg INTEGER NOT NULL,
    direction TEXT NOT NULL CHECK (direction IN ('debit', 'credit')),
    amount INTEGER NOT NULL CHECK (amount > 0), currency TEXT NOT NULL,
    debits_after INTEGER NOT NULL CHECK (debits_after >= 0),
    credits_after INTEGER NOT NULL CHECK (credits_after >= 0),
    recorded_at TEXT NOT NULL,
    PRIMARY KEY (tenant_id, account_id, sequence)
) STRICT, WITHOUT ROWID;
"""

# In older versions a payment's timeline was a collection with a copy of each event's data.
_HISTORY: Final = """
ALTER TABLE events ADD COLUMN history TEXT;

CREATE TABLE IF NOT EXISTS d_timeline (
    tenant_id TEXT NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT, WITHOUT ROWID;
CREATE TEMP TABLE places (tenant_id TEXT, event_id TEXT, place TEXT, PRIMARY KEY (tenant_id, event_id)) WITHOUT ROWID;
INSERT INTO places SELECT tenant_id, json_extract(body, '$.event_id'), id FROM d_timeline;
UPDATE events SET history = (
    SELECT place FROM places WHERE places.tenant_id = events.tenant_id AND places.event_id = events.id
);
DROP TABLE places;
DROP TABLE d_timeline;

CREATE INDEX events_history ON events (tenant_id, history) WHERE history IS NOT NULL;
"""

# The sum of an account's debits is debits_carry * 2^63 + debits_after, and likewise that of its credits.
_CARRIES: Final = """
ALTER TABLE entries ADD COLUMN debits_carry INTEGER NOT NULL DEFAULT 0 CHECK (debits_carry >= 0);
ALTER TABLE entries ADD COLUMN credits_carry INTEGER NOT NULL DEFAULT 0 CHECK (credits_carry >= 0);
"""

_IMMUTABLE: Final = {
    "ledger_accounts": "tenant_id = NEW.tenant_id AND account_id = NEW.account_id",
    "transfers": "tenant_id = NEW.tenant_id AND id = NEW.id",
    "entries": "tenant_id = NEW.tenant_id AND account_id = NEW.account_id AND sequence = NEW.sequence",
}


class SchemaTooNew(Exception):
    """The file was written by a newer version of Lastro."""


class CannotOpen(Exception):
    """The database file cannot be used: the text names it, says why and what to do."""


_DAMAGE: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_REFUSALS: Final = _DAMAGE | {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_READONLY,
}


def is_damage(error: sqlite3.Error) -> bool:
    """Return whether the error means that the file is damaged (sqlite.org/rescode.html)."""
    return _code(error) in _DAMAGE


def is_refusal(error: sqlite3.Error) -> bool:
    """Return whether the error is of the file or disk and not of the statement: full, not readable, not writable,
    damaged."""
    return _code(error) in _REFUSALS


def _code(error: sqlite3.Error) -> int:
    # The lowest byte of an extended result code is its primary code. An error of Python's module has none.
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _guards(table: str, same_key: str) -> str:
    # INSERT OR REPLACE deletes the old row without firing its DELETE trigger unless the connection has
    # recursive_triggers on; a trigger before the INSERT fires on every connection.
    return f"""
CREATE TRIGGER {table}_keeps_rows BEFORE UPDATE ON {table}
BEGIN SELECT RAISE(ABORT, 'the ledger is immutable: no UPDATE of {table}'); END;
CREATE TRIGGER {table}_keeps_all BEFORE DELETE ON {table}
BEGIN SELECT RAISE(ABORT, 'the ledger is immutable: no DELETE from {table}'); END;
CREATE TRIGGER {table}_keeps_first BEFORE INSERT ON {table}
WHEN EXISTS (SELECT 1 FROM {table} WHERE {same_key})
BEGIN SELECT RAISE(ABORT, 'the ledger is immutable: the row of {table} exists'); END;
"""


PROBE: Final = "INSERT INTO meta (name, value) VALUES ('probe', 1) ON CONFLICT (name) DO UPDATE SET value = value + 1"
"""A write on which nothing depends. It shows whether the file can be written."""

MIGRATIONS: Final[tuple[str, ...]] = (
    _LOG,
    _LEDGER + "".join(_guards(table, key) for table, key in _IMMUTABLE.items()),
    "ALTER TABLE events ADD COLUMN topic TEXT;",
    _HISTORY,
    _CARRIES,
)
"""Script n migrates a file from version n to version n + 1. A released script is never edited."""


def make_data_dir(data_dir: Path) -> None:
    """Create the directory with access only for its owner. An existing directory is not changed.

    Raises OSError, with the remedy in its text if the path is, or leads through, a file.
    """
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        remedy = "this is not a directory; set LASTRO_DATA_DIR (or --data-dir) to one"
        raise NotADirectoryError(errno.ENOTDIR, remedy, str(data_dir)) from None


def open_for_writing(data_dir: Path) -> sqlite3.Connection:
    """Open the one connection that writes, and migrate the file to this version.

    Every commit is on disk when it returns: WAL with synchronous=FULL (sqlite.org/pragma.html#pragma_synchronous).
    Raises SchemaTooNew or CannotOpen.
    """
    path = data_dir / DATABASE
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        return _open_for_writing(path)
    except IsADirectoryError:
        wrong = f"{path} is a directory and not a database: move it away, or set LASTRO_DATA_DIR to another directory"
        raise CannotOpen(wrong) from None
    except OSError as error:
        raise CannotOpen(f"{path} cannot be opened: {error.strerror}") from None
    except sqlite3.Error as error:
        if is_damage(error):
            wrong = (
                f"{path} is damaged, or not a database of Lastro ({error}): put the data directory back from a backup"
            )
        elif is_refusal(error):
            wrong = f"{path} cannot be opened for writing: {error}"
        else:
            raise
        raise CannotOpen(wrong) from None


def _open_for_writing(path: Path) -> sqlite3.Connection:
    with _closed_on_failure(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as connection:
        connection.execute(f"PRAGMA busy_timeout = {_BUSY_MILLISECONDS}")
        connection.execute("PRAGMA journal_mode = WAL")
        for pragma in (
            "synchronous = FULL",
            "foreign_keys = ON",
            "recursive_triggers = ON",
            # Debian's build overwrites deleted bytes. That doubles the pages that a commit writes and protects
            # nothing here.
            "secure_delete = OFF",
            "temp_store = MEMORY",
            "cache_size = -65536",
            # The writer makes checkpoints itself, between batches and after its report, so that no commit waits for
            # one.
            "wal_autocheckpoint = 0",
            f"journal_size_limit = {_MAX_WAL_BYTES}",
        ):
            connection.execute(f"PRAGMA {pragma}")
        migrate(connection)
    return connection


def open_for_reading(data_dir: Path, factory: type[sqlite3.Connection]) -> sqlite3.Connection:
    """Open a connection of this class that reads committed data and cannot write."""
    with _closed_on_failure(sqlite3.connect(data_dir / DATABASE, isolation_level=None, factory=factory)) as connection:
        for pragma in (f"busy_timeout = {_BUSY_MILLISECONDS}", "query_only = ON", "cache_size = -32768"):
            connection.execute(f"PRAGMA {pragma}")
    return connection


@contextmanager
def _closed_on_failure(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    try:
        yield connection
    except BaseException:
        connection.close()
        raise


def migrate(connection: sqlite3.Connection) -> None:
    """Migrate the file to this version, one version in each transaction. Raises SchemaTooNew."""
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > len(MIGRATIONS):
        raise SchemaTooNew(
            f"the data directory has schema version {version}; this version of Lastro supports {len(MIGRATIONS)}: "
            "start the newer Lastro that wrote it"
        )
    for number in range(version, len(MIGRATIONS)):
        try:
            connection.executescript(
                f"BEGIN IMMEDIATE; {MIGRATIONS[number]} PRAGMA user_version = {number + 1}; COMMIT;"
            )
        except sqlite3.Error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
