"""MongoDB's commands, as calls of the engine."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import bson

from tests.servers.mongo_gateway.cursors import Cursors
from tests.servers.mongo_gateway.duplicates import DuplicateKeys
from tests.servers.mongo_gateway.engine import Connection, Engine, encoded, until_no_conflict
from tests.servers.mongo_gateway.errors import CommandError, code_of, unpacked
from tests.servers.mongo_gateway.sessions import Sessions, Transaction
from tests.servers.mongo_gateway.wire import MAX_MESSAGE_BYTES, fields

VERSION: Final = "7.0.0"
"""The version of mongod whose wire protocol this gateway implements."""
MAX_WIRE_VERSION: Final = 21
REPLICA_SET: Final = "rs0"
IN_TRANSACTIONS: Final = frozenset(
    "abortTransaction aggregate commitTransaction create createIndexes delete distinct find findAndModify getMore "
    "insert killCursors update".split()
)
"""The commands that may be part of a transaction."""
RETRYABLE: Final = frozenset({"insert", "update", "delete", "findAndModify"})
_OTHER_NAMES: Final = {
    "buildinfo": "buildInfo",
    "findandmodify": "findAndModify",
    "isMaster": "hello",
    "ismaster": "hello",
    "deleteIndexes": "dropIndexes",
}
# Fields for the session, the routing and the version of the API. The engine does not use them.
_NOT_FOR_THE_ENGINE: Final = frozenset(
    "lsid txnNumber startTransaction autocommit readConcern writeConcern $db $readPreference $clusterTime apiVersion "
    "apiStrict apiDeprecationErrors maxTimeMS stmtId stmtIds".split()
)
_STATEMENTS: Final = {"insert": "documents", "update": "updates", "delete": "deletes"}


class Call(NamedTuple):
    """A command of a client."""

    name: str
    database: str
    command: Mapping[str, Any]
    connection_id: int
    transaction: Transaction | None = None
    """The transaction that the command belongs to."""
    connection: Connection | None = None
    """The connection of the transaction, or the one on which a retryable write runs."""

    @property
    def spec(self) -> dict[str, Any]:
        """The command in the form of the engine."""
        return {name: value for name, value in self.command.items() if name not in _NOT_FOR_THE_ENGINE}

    @property
    def collection(self) -> str:
        """The collection that the command names. Raises BadValue (2) when it is not a name."""
        name = next(iter(self.command.values()))
        if not isinstance(name, str) or not name:
            raise CommandError(73, f"{self.name} needs the name of a collection, and got {name!r}")
        return name

    @property
    def seconds(self) -> float | None:
        """The time limit of the command, set by the client."""
        limit = self.command.get("maxTimeMS")
        return limit / 1000 if limit else None


Handler = Callable[["Commands", Call], Awaitable["bytes | dict[str, Any]"]]


class Commands:
    """The implementations of the commands. A reply is a document, or the engine's reply as BSON."""

    def __init__(self, engine: Engine, sessions: Sessions, cursors: Cursors, address: str) -> None:
        self._engine = engine
        self._sessions = sessions
        self._cursors = cursors
        self._duplicates = DuplicateKeys(engine)
        self._address = address

    async def run(self, call: Call) -> bytes:
        """Return the reply to a command as BSON. Raises CommandError; its code is 59 when there is no such command."""
        handler = HANDLERS.get(call.name)
        if handler is None:
            raise CommandError(59, f"no such command: '{call.name}'")
        try:
            reply = await handler(self, call)
        except CommandError as error:
            if error.code == 11000 and call.name == "findAndModify":
                raise await self._duplicates.of_error(call.database, call.collection, error) from None
            raise
        return reply if isinstance(reply, bytes) else bson.encode({**reply, "ok": 1.0})

    # --- the server

    async def hello(self, call: Call) -> dict[str, Any]:
        """Report that this is the primary of a replica set, which transactions and sessions need."""
        return {
            "helloOk": True,
            "ismaster": True,
            "isWritablePrimary": True,
            "secondary": False,
            "setName": REPLICA_SET,
            "setVersion": 1,
            "hosts": [self._address],
            "primary": self._address,
            "me": self._address,
            "maxBsonObjectSize": 16 * 1024 * 1024,
            "maxMessageSizeBytes": MAX_MESSAGE_BYTES,
            "maxWriteBatchSize": 25_000,
            "localTime": datetime.now(UTC),
            "logicalSessionTimeoutMinutes": 30,
            "connectionId": call.connection_id,
            "minWireVersion": 0,
            "maxWireVersion": MAX_WIRE_VERSION,
            "readOnly": False,
        }

    async def nothing(self, call: Call) -> dict[str, Any]:
        """Answer ok."""
        return {}

    async def build_info(self, call: Call) -> dict[str, Any]:
        """Report the version of the implemented protocol, and that this is not mongod."""
        version = [int(part) for part in VERSION.split(".")]
        return {
            "version": VERSION,
            "versionArray": [*version, 0],
            "gitVersion": "none",
            "modules": ["DocumentDB on PostgreSQL, behind a gateway for tests"],
            "bits": 64,
            "debug": False,
            "maxBsonObjectSize": 16 * 1024 * 1024,
        }

    async def connection_status(self, call: Call) -> dict[str, Any]:
        """Report that there is no authentication."""
        return {"authInfo": {"authenticatedUsers": [], "authenticatedUserRoles": []}}

    async def list_databases(self, call: Call) -> bytes:
        """List the databases, by the engine."""
        return await self._one("SELECT documentdb_api.list_databases($1)", encoded(call.spec))

    # --- sessions

    async def end_sessions(self, call: Call) -> dict[str, Any]:
        """Abort the transactions of the sessions, and remove the sessions."""
        for session in next(iter(call.command.values())):
            await self._sessions.end(bytes(session["id"]))
        return {}

    # --- documents

    async def write(self, call: Call) -> bytes:
        """Insert, update or delete."""
        row = await self._call(call, f"documentdb_api.{call.name}")
        reply = fields(bytes(row["p_result"]))
        if "writeErrors" not in reply:
            return bytes(row["p_result"])
        statements = call.command.get(_STATEMENTS[call.name], [])
        errors = [bson.decode(error.raw) for error in reply["writeErrors"]]
        reply["writeErrors"] = [await self._write_error(call, error, statements[error["index"]]) for error in errors]
        return bson.encode(reply)

    async def find_and_modify(self, call: Call) -> bytes:
        """Change one document and return it."""
        row = await self._call(call, "documentdb_api.find_and_modify")
        return bytes(row["p_result"])

    async def find(self, call: Call) -> bytes:
        """Return the first page of a query."""
        return await self._page(call, "find_cursor_first_page")

    async def aggregate(self, call: Call) -> bytes:
        """Return the first page of a pipeline."""
        return await self._page(call, "aggregate_cursor_first_page")

    async def get_more(self, call: Call) -> bytes:
        """Return the next page of a cursor."""
        return await self._cursors.next_page(int(next(iter(call.command.values()))), call.spec, call.seconds)

    async def kill_cursors(self, call: Call) -> dict[str, Any]:
        """Close cursors."""
        killed: dict[bool, list[Any]] = {True: [], False: []}
        for number in call.command["cursors"]:
            killed[await self._cursors.kill(int(number))].append(number)
        return {
            "cursorsKilled": killed[True],
            "cursorsNotFound": killed[False],
            "cursorsAlive": [],
            "cursorsUnknown": [],
        }

    async def count(self, call: Call) -> bytes:
        """Count documents."""
        return bytes((await self._call(call, "documentdb_api.count_query"))["document"])

    async def distinct(self, call: Call) -> bytes:
        """List the different values of a field."""
        return bytes((await self._call(call, "documentdb_api.distinct_query"))["document"])

    # --- collections and indexes

    async def create(self, call: Call) -> bytes:
        """Create a collection with its options, a validator among them."""
        row = await self._call(call, "documentdb_api.create_collection_view")
        return bytes(row[0])

    async def coll_mod(self, call: Call) -> bytes:
        """Change the options of a collection."""
        sql = "SELECT documentdb_api.coll_mod($1, $2, $3)"
        return await self._one(sql, call.database, call.collection, encoded(call.spec))

    async def drop(self, call: Call) -> dict[str, Any]:
        """Drop a collection. As since MongoDB 7, dropping one that does not exist succeeds."""
        async with self._engine.connection() as connection:
            sql = "SELECT documentdb_api.drop_collection($1, $2)"
            await self._engine.row(connection, sql, call.database, call.collection)
        return {"ns": f"{call.database}.{call.collection}"}

    async def drop_database(self, call: Call) -> dict[str, Any]:
        """Drop a database."""
        async with self._engine.connection() as connection:
            await self._engine.row(connection, "SELECT documentdb_api.drop_database($1)", call.database)
        return {"dropped": call.database}

    async def rename_collection(self, call: Call) -> bytes:
        """Rename a collection."""
        return await self._one("SELECT documentdb_api.rename_collection($1)", encoded(call.spec))

    async def list_collections(self, call: Call) -> bytes:
        """List the collections with their options."""
        return await self._page(call, "list_collections_cursor_first_page")

    async def create_indexes(self, call: Call) -> dict[str, Any]:
        """Build indexes, and answer when they are built."""
        function = "documentdb_api_internal.create_indexes_non_concurrently"
        row = await self._call(call, function, True)
        reply = bson.decode(row[0])
        for shard in reply.get("raw", {}).values():
            return dict(shard)
        return {name: value for name, value in reply.items() if name != "raw"}

    async def list_indexes(self, call: Call) -> bytes:
        """List the indexes of a collection, without the fields that only this engine has."""
        reply = bson.decode(await self._page(call, "list_indexes_cursor_first_page"))
        for index in reply["cursor"]["firstBatch"]:
            index.pop("storageEngine", None)
        return bson.encode(reply)

    async def drop_indexes(self, call: Call) -> bytes:
        """Drop indexes."""
        return await self._one("CALL documentdb_api.drop_indexes($1, $2, NULL)", call.database, encoded(call.spec))

    async def coll_stats(self, call: Call) -> bytes:
        """Return the sizes of a collection."""
        return await self._one("SELECT documentdb_api.coll_stats($1, $2)", call.database, call.collection)

    async def db_stats(self, call: Call) -> bytes:
        """Return the sizes of a database."""
        return await self._one("SELECT documentdb_api.db_stats($1)", call.database)

    # --- calls of the engine

    async def _call(self, call: Call, function: str, *more: Any) -> Any:
        if call.connection is not None:
            return await self._engine.call(
                call.connection, function, call.database, call.spec, *more, seconds=call.seconds
            )

        async def attempt() -> Any:
            async with self._engine.connection() as connection:
                return await self._engine.call(
                    connection, function, call.database, call.spec, *more, seconds=call.seconds
                )

        return await until_no_conflict(attempt)

    async def _one(self, sql: str, *values: Any) -> bytes:
        async with self._engine.connection() as connection:
            return bytes((await self._engine.row(connection, sql, *values))[0])

    async def _page(self, call: Call, function: str) -> bytes:
        return await self._cursors.first_page(
            f"documentdb_api.{function}", call.database, call.spec, call.transaction, call.seconds
        )

    async def _write_error(self, call: Call, error: dict[str, Any], statement: Any) -> dict[str, Any]:
        state = unpacked(error["code"])
        error["code"] = code_of(state)
        if error["code"] == 112 and call.connection is not None:  # the whole command fails and is rolled back
            raise CommandError(112, error["errmsg"])
        decoded = bson.decode(statement.raw)
        if error["code"] == 11000:
            error |= await self._duplicates.of_write(call.database, call.collection, error["errmsg"], decoded)
        elif error["code"] == 121:
            failing = decoded.get("q", decoded).get("_id")
            error["errInfo"] = {"failingDocumentId": failing, "details": {"operatorName": "$jsonSchema"}}
        return error


HANDLERS: Final[Mapping[str, Handler]] = {
    "aggregate": Commands.aggregate,
    "buildInfo": Commands.build_info,
    "collMod": Commands.coll_mod,
    "collStats": Commands.coll_stats,
    "connectionStatus": Commands.connection_status,
    "count": Commands.count,
    "create": Commands.create,
    "createIndexes": Commands.create_indexes,
    "dbStats": Commands.db_stats,
    "delete": Commands.write,
    "distinct": Commands.distinct,
    "drop": Commands.drop,
    "dropDatabase": Commands.drop_database,
    "dropIndexes": Commands.drop_indexes,
    "endSessions": Commands.end_sessions,
    "find": Commands.find,
    "findAndModify": Commands.find_and_modify,
    "getMore": Commands.get_more,
    "hello": Commands.hello,
    "insert": Commands.write,
    "killCursors": Commands.kill_cursors,
    "killSessions": Commands.end_sessions,
    "listCollections": Commands.list_collections,
    "listDatabases": Commands.list_databases,
    "listIndexes": Commands.list_indexes,
    "ping": Commands.nothing,
    "refreshSessions": Commands.nothing,
    "renameCollection": Commands.rename_collection,
    "update": Commands.write,
}


def name_of(command: Mapping[str, Any]) -> str:
    """Return the name of a command; of several synonyms, the one that this module uses."""
    name = next(iter(command))
    return _OTHER_NAMES.get(name, name)
