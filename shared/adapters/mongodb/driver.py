"""The only module that imports the driver: Motor, on PyMongo.

Motor is a requirement of the architecture and is no longer developed. PyMongo's own `AsyncMongoClient` has the same
methods; to use it, only this module must change. The module is imported when a store is opened, so that a process
without MongoDB never loads the driver.

Errors of the driver leave this module as exceptions of the documents port, and a duplicate key as `DuplicateKey`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

from bson import MinKey
from bson.errors import BSONError
from bson.int64 import Int64
from motor.frameworks.asyncio import max_workers
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import DeleteOne, InsertOne, ReplaceOne, UpdateOne
from pymongo.errors import (
    BulkWriteError,
    ConfigurationError,
    DocumentTooLarge,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
)
from pymongo.monitoring import CommandListener
from pymongo.read_concern import ReadConcern
from pymongo.read_preferences import ReadPreference
from pymongo.uri_parser import parse_uri
from pymongo.write_concern import WriteConcern

from shared.adapters.mongodb.statements import Counts, Delete, Insert, Replace, Statement, Stored
from shared.ports.documents import CommitOutcomeUnknown, InvalidWrite, Unavailable, VersionConflict

__all__ = ("BadUrl", "CommandListener", "DuplicateKey", "Int64", "MinKey", "Server", "Transaction")

DEFAULT_DATABASE: Final = "lastro"
_TRANSIENT: Final = "TransientTransactionError"
_UNKNOWN: Final = "UnknownTransactionCommitResult"
_WRITE_CONFLICT: Final = 112
_DUPLICATE_KEY: Final = 11000
_REFUSED_VALUES: Final = frozenset({2, 14, 121})
"""BadValue, TypeMismatch and DocumentValidationFailure: the same write would be refused again."""
_INDEX_NAME: Final = re.compile(r" index: (?:\S+\.\$)?(\S+)")
_SPARE_THREADS: Final = 2
_MILLISECONDS: Final = 1000
_DEFAULTS: Final[dict[str, Any]] = {
    "appname": "lastro",
    "connectTimeoutMS": 5 * _MILLISECONDS,
    "serverSelectionTimeoutMS": 5 * _MILLISECONDS,
    "socketTimeoutMS": 30 * _MILLISECONDS,
    "wTimeoutMS": 10 * _MILLISECONDS,
}
"""Default options, which a URL may override."""
_FIXED: Final[dict[str, Any]] = {
    "w": "majority",
    "journal": True,
    "readConcernLevel": "majority",
    "readPreference": "primary",
    "retryReads": True,
    "retryWrites": True,
}
"""Options that a commit depends on. They override those of a URL."""


class BadUrl(ValueError):
    """The driver cannot use the URL. The text does not contain the URL, because it may contain a password."""


class DuplicateKey(Exception):
    """Another document has the same key. `index` is the name of the index, `position` that of the statement in its
    batch."""

    def __init__(self, index: str, position: int) -> None:
        super().__init__(f"another document has the same key in the index {index}")
        self.index = index
        self.position = position


class Server:
    """A database on a replica set or a sharded cluster. Reads use the primary and read concern `majority`."""

    def __init__(
        self, url: str, listeners: Sequence[CommandListener] = (), *, wait_seconds: float | None = None
    ) -> None:
        """`listeners` receive every command. `wait_seconds` is how long a call waits for a server, instead of what the
        URL says. No connection is opened yet. Raises BadUrl.
        """
        try:
            parsed = parse_uri(url)
            given = {name.lower() for name in parsed["options"]}
            defaults = {name: value for name, value in _DEFAULTS.items() if name.lower() not in given}
            waits = {} if wait_seconds is None else {"serverSelectionTimeoutMS": wait_seconds * _MILLISECONDS}
            options = {**defaults, **_FIXED, **waits, "event_listeners": list(listeners)}
            self._client: Any = AsyncIOMotorClient(url, **options)
        except (ConfigurationError, ValueError, TypeError):
            raise BadUrl(
                "it is not a URL as mongodb://user:password@host:27017/lastro?replicaSet=rs0; "
                "special characters in user and password are percent-encoded (%40 for @)"
            ) from None
        self.name: str = parsed["database"] or DEFAULT_DATABASE
        self.hosts = "MongoDB at " + ",".join(f"{host}:{port}" for host, port in parsed["nodelist"])
        """The servers that the URL names, for messages."""
        self.room = asyncio.Semaphore(max(1, max_workers - _SPARE_THREADS))
        """Limits concurrent transactions. Motor makes each call in one of `max_workers` threads (MOTOR_MAX_WORKERS). A
        write that waits for another transaction occupies its thread, and one thread must remain for the commit of that
        transaction."""
        self._database: Any = self._client[self.name]

    async def aclose(self) -> None:
        """Close all connections."""
        self._client.close()

    async def command(self, command: Stored, accepted: Sequence[int] = ()) -> Stored:
        """Run a command that reads or changes the database itself, and return the reply.

        A refusal with an `accepted` code counts as success. Raises Unavailable, or DuplicateKey when a unique index
        cannot be created.
        """
        with _translated():
            reply: Stored = await self._database.command(command, allowable_errors=list(accepted))
            return reply

    async def listed(self, command: Stored) -> list[Stored]:
        """Return the results of `listCollections` or `listIndexes`; none for a collection that does not exist."""
        with _translated():
            if "listIndexes" in command:
                return [dict(each) async for each in self._database[command["listIndexes"]].list_indexes()]
            return [dict(each) async for each in await self._database.list_collections()]

    async def administer(self, command: Stored) -> None:
        """Run a command of the whole cluster, which is sent to the database `admin`. Raises Unavailable."""
        with _translated():
            await self._client.admin.command(command)

    async def configuration(self, collection: str) -> list[Stored]:
        """Return the documents of a sharded cluster's configuration: of `collections`, `shards` or `tags`."""
        with _translated():
            found: list[Stored] = await self._client["config"][collection].find({}).to_list(None)
            return found

    async def find(
        self,
        collection: str,
        filter: Stored,
        *,
        sort: Sequence[tuple[str, int]] = (),
        limit: int = 0,
        fields: Sequence[str] | None = None,
    ) -> list[Stored]:
        """Return the matching documents, with these fields or with all."""
        with _translated():
            cursor = self._database[collection].find(filter, fields, sort=list(sort) or None, limit=limit)
            if limit:
                # The first reply has the whole page, whatever number of documents the server prefers.
                cursor = cursor.batch_size(limit + 1)
            found: list[Stored] = await cursor.to_list(None)
            return found

    async def find_one(self, collection: str, filter: Stored, fields: Sequence[str] | None = None) -> Stored | None:
        """Return the matching document, or None."""
        with _translated():
            found: Stored | None = await self._database[collection].find_one(filter, fields)
            return found

    async def write(self, collection: str, statements: Sequence[Statement], *, majority: bool = True) -> Counts:
        """Write outside a transaction. Raises DuplicateKey, InvalidWrite or Unavailable.

        With `majority` False it returns when the primary has the write, which is lost if the primary then fails.
        """
        target = self._database[collection]
        if not majority:
            target = target.with_options(write_concern=WriteConcern(1))
        return await _bulk(target, statements)

    async def transaction(self) -> Transaction:
        """Return a new transaction that has begun."""
        with _translated():
            transaction = Transaction(self._database, await self._client.start_session())
        transaction.begin()
        return transaction


class Transaction:
    """A multi-document transaction. It reads a snapshot, and is committed when a majority of the servers has it.

    After a commit of unknown outcome, `begin` starts another transaction in the same session. The server then aborts
    the former one if it is still open, and refuses its late commit: after that its outcome does not change.
    """

    def __init__(self, database: Any, session: Any) -> None:
        self._database = database
        self._session = session

    def begin(self) -> None:
        """Begin. The first write tells the server."""
        concern: WriteConcern = self._database.write_concern
        self._session.start_transaction(
            read_concern=ReadConcern("snapshot"),
            write_concern=concern,
            read_preference=ReadPreference.PRIMARY,
            max_commit_time_ms=concern.document.get("wtimeout"),
        )

    async def write(self, collection: str, statements: Sequence[Statement]) -> Counts:
        """Write a batch in its order. Raises VersionConflict, DuplicateKey, InvalidWrite or Unavailable. After an error
        the transaction can only be aborted."""
        return await _bulk(self._database[collection], statements, self._session)

    async def commit(self) -> None:
        """Commit. It may be called again after CommitOutcomeUnknown.

        Raises VersionConflict when the server has aborted the transaction.
        """
        with _translated():
            await self._session.commit_transaction()

    async def abort(self) -> None:
        """Abort the transaction and end the session. If the abort fails, the server aborts the transaction later."""
        with suppress(PyMongoError):
            if self._session.in_transaction:
                await self._session.abort_transaction()
            await self.end()

    async def end(self) -> None:
        """End the session."""
        await self._session.end_session()


async def _bulk(target: Any, statements: Sequence[Statement], session: Any = None) -> Counts:
    with _translated():
        result = await target.bulk_write([_request(statement) for statement in statements], session=session)
        return Counts(result.matched_count, result.deleted_count)


def _request(statement: Statement) -> InsertOne[Any] | UpdateOne | ReplaceOne[Any] | DeleteOne:
    if isinstance(statement, Insert):
        return InsertOne(statement.document)
    if isinstance(statement, Replace):
        return ReplaceOne(statement.filter, statement.document, upsert=statement.upsert)
    if isinstance(statement, Delete):
        return DeleteOne(statement.filter)
    return UpdateOne(statement.filter, statement.update, upsert=statement.upsert)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except PyMongoError as error:
        raise port_error(error) from error
    except (BSONError, UnicodeEncodeError, OverflowError) as error:
        raise InvalidWrite(f"a value cannot be stored in MongoDB: {error}") from error


def _first_reason(error: ServerSelectionTimeoutError) -> str:
    """Return the driver's text without its timeouts and its description of all servers, which fill the rest."""
    return " ".join(str(error).partition(" (configured timeouts")[0].partition(", Timeout:")[0].split())[:300]


def port_error(error: PyMongoError) -> Exception:
    """Return the exception of the port for an error of the driver.

    Its text has the code but not the server's message, which may quote values of a document.
    """
    if error.has_error_label(_UNKNOWN):
        return CommitOutcomeUnknown(f"MongoDB did not say whether it has committed ({_cause(error)})")
    if isinstance(error, ServerSelectionTimeoutError):
        return Unavailable(f"no primary of MongoDB can be reached ({_first_reason(error)})")
    if error.has_error_label(_TRANSIENT):
        return VersionConflict(f"the transaction was aborted ({_cause(error)})")
    if isinstance(error, DocumentTooLarge):
        return InvalidWrite("a document is larger than MongoDB stores (16 MiB)")
    return _refused(error)


def _refused(error: PyMongoError) -> Exception:
    code, position, message = _refusal(error)
    if code == _DUPLICATE_KEY:
        named = _INDEX_NAME.search(message)
        return DuplicateKey(named[1] if named else "", position)
    if code == _WRITE_CONFLICT:
        return VersionConflict("another transaction writes the same document")
    if code in _REFUSED_VALUES:
        return InvalidWrite(f"MongoDB refuses the document or the change ({_cause(error)})")
    return Unavailable(f"MongoDB cannot answer ({_cause(error)})")


def _refusal(error: PyMongoError) -> tuple[int | None, int, str]:
    """Return the code, the position of the refused statement in its batch, and the message."""
    if isinstance(error, BulkWriteError):
        for refused in (error.details or {}).get("writeErrors", ()):
            return refused["code"], refused["index"], refused["errmsg"]
    if isinstance(error, OperationFailure):
        return error.code, 0, str(error)
    return None, 0, ""


def _cause(error: PyMongoError) -> str:
    code, _, _ = _refusal(error)
    if not isinstance(error, OperationFailure) or code is None:
        return type(error).__name__
    name = (error.details or {}).get("codeName")
    return f"code {code}" if name is None else f"code {code}, {name}"
