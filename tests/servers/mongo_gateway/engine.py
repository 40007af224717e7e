"""The document engine: PostgreSQL with the DocumentDB extension, called through its SQL functions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, TypeVar

import asyncpg
import bson

from tests.servers.mongo_gateway.errors import CommandError

MAX_CONNECTIONS: Final = 250
_IDLE_SECONDS: Final = 120
_ATTEMPTS: Final = 20
_SCHEMA: Final = """
    CREATE EXTENSION IF NOT EXISTS documentdb CASCADE;
    CREATE SCHEMA IF NOT EXISTS gateway;
    CREATE TABLE IF NOT EXISTS gateway.outcomes (
        session bytea NOT NULL, number bigint NOT NULL, reply bytea NOT NULL,
        at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (session, number)
    );
"""
Connection = Any
"""asyncpg's type, which has no parameters for a connection of a pool."""
Document = bytes | Mapping[str, Any]
Failure: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)
"""The exceptions of asyncpg when a statement or its connection fails."""
T = TypeVar("T")


class Engine:
    """Connections to PostgreSQL, and the extension's functions. Errors are raised as CommandError."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    @classmethod
    async def connect(cls, dsn: str) -> Engine:
        """Return an engine with the extension and the gateway's table. Both are created if they do not exist."""
        first = await asyncpg.connect(dsn)
        try:
            await first.execute(_SCHEMA)
        finally:
            await first.close()
        pool = await asyncpg.create_pool(
            dsn,
            min_size=2,
            max_size=MAX_CONNECTIONS,
            max_inactive_connection_lifetime=_IDLE_SECONDS,
            init=_prepare,
            reset=_leave,
        )
        return cls(pool)

    async def close(self) -> None:
        """Close all connections. PostgreSQL rolls back their open transactions."""
        self._pool.terminate()

    async def acquire(self) -> Connection:
        """Take a connection from the pool. It must be released."""
        try:
            return await self._pool.acquire()
        except Failure as error:
            raise CommandError.of(error) from None

    async def release(self, connection: Connection, *, cursors: bool = False) -> None:
        """Return a connection to the pool. Its transaction is rolled back; with `cursors`, its cursors are closed."""
        try:
            if connection.is_in_transaction():
                await connection.execute("ROLLBACK")
            if cursors:
                await connection.execute("CLOSE ALL")
        except Failure:
            # A connection that the engine has closed is no longer the pool's, and then this fails too.
            with suppress(*Failure):
                connection.terminate()
        await self._pool.release(connection)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Take a connection for one statement that leaves nothing open."""
        connection = await self.acquire()
        try:
            yield connection
        finally:
            await self._pool.release(connection)

    async def call(
        self, connection: Connection, function: str, database: str, spec: Document, *more: Any, seconds: float | None
    ) -> Any:
        """Return the row with which a function of the extension answers the document of a command."""
        places = "".join(f", ${place}" for place in range(3, 3 + len(more)))
        sql = f"SELECT * FROM {function}($1, $2{places})"
        return await self.row(connection, sql, database, encoded(spec), *more, seconds=seconds)

    async def row(self, connection: Connection, sql: str, *values: Any, seconds: float | None = None) -> Any:
        """Return the one row of a statement, or None."""
        try:
            return await connection.fetchrow(sql, *values, timeout=seconds)
        except Failure as error:
            raise CommandError.of(error) from error

    async def execute(self, connection: Connection, sql: str, *values: Any) -> None:
        """Execute a statement that returns nothing."""
        try:
            await connection.execute(sql, *values)
        except Failure as error:
            raise CommandError.of(error) from error


async def until_no_conflict(run: Callable[[], Awaitable[T]]) -> T:
    """Run a call outside a transaction. It is repeated after a conflict, as mongod does."""
    for attempt in range(_ATTEMPTS):
        try:
            return await run()
        except CommandError as error:
            if error.code != 112 or attempt == _ATTEMPTS - 1:
                raise
        await asyncio.sleep(0.005 * attempt)
    raise AssertionError("unreachable")


def encoded(document: Document) -> bytes:
    """Return a document as BSON."""
    return document if isinstance(document, bytes) else bson.encode(document)


async def _prepare(connection: Connection) -> None:
    await connection.set_type_codec("bson", schema="documentdb_core", encoder=bytes, decoder=bytes, format="binary")


async def _leave(_: Connection) -> None:
    """Do nothing: open transactions and cursors are closed where they were opened, which saves a round trip for each
    command."""
