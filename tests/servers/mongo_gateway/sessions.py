"""Sessions with their transactions and retryable writes.

A transaction is one PostgreSQL connection at REPEATABLE READ, which corresponds to MongoDB's snapshot: all its
statements read one state, and a write to a row that another transaction has changed since fails. The commit writes its
number into a table, in the same transaction: a repeated commitTransaction is answered from there, also after a restart
of the gateway. The reply to a retryable write is stored in the same way.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Final

import bson

from tests.servers.mongo_gateway.engine import Connection, Engine, until_no_conflict
from tests.servers.mongo_gateway.errors import CommandError

SESSION_SECONDS: Final = 30 * 60
"""The time for which a session, and the outcomes of its transactions and writes, are stored after its last use."""
_COMMITTED: Final = bson.encode({"ok": 1.0})
_OUTCOME: Final = "SELECT reply FROM gateway.outcomes WHERE session = $1 AND number = $2"
_KEEP_OUTCOME: Final = "INSERT INTO gateway.outcomes (session, number, reply) VALUES ($1, $2, $3)"


class State(Enum):
    """The state of a transaction."""

    IN_PROGRESS = "in progress"
    COMMITTED = "committed"
    ABORTED = "aborted"


class Transaction:
    """The transaction of a session: one connection until it has ended."""

    def __init__(self, number: int, connection: Connection) -> None:
        self.number = number
        self.connection = connection
        self.state = State.IN_PROGRESS
        self.used = time.monotonic()


class Session:
    """A logical session of a client. Its commands run one after the other."""

    def __init__(self, key: bytes, engine: Engine) -> None:
        self.key = key
        self.lock = asyncio.Lock()
        self.used = time.monotonic()
        self.transaction: Transaction | None = None
        self._number = -1
        self._engine = engine

    async def begin(self, number: int) -> Transaction:
        """Start a transaction; one with a lower number that is in progress is aborted first."""
        self._expect_new(number)
        if self.transaction is not None and self.transaction.number == number:
            raise CommandError(117, f"transaction {number} of this session is {self.transaction.state.value}")
        await self.abort()
        self._number = number
        connection = await self._engine.acquire()
        try:
            await self._engine.execute(connection, "BEGIN ISOLATION LEVEL REPEATABLE READ")
        except CommandError:
            await self._engine.release(connection)
            raise
        self.transaction = Transaction(number, connection)
        return self.transaction

    def current(self, number: int) -> Transaction:
        """Return the transaction in progress. Raises NoSuchTransaction (251), TransactionCommitted (256) and others."""
        self._expect_new(number)
        transaction = self.transaction
        if transaction is None or transaction.number != number:
            raise CommandError(
                251, f"Given transaction number {number} does not match any in-progress transactions of this session."
            )
        if transaction.state is State.COMMITTED:
            raise CommandError(256, f"Transaction {number} has been committed.")
        if transaction.state is State.ABORTED:
            raise CommandError(251, f"Transaction {number} has been aborted.")
        return transaction

    async def commit(self, number: int) -> bytes:
        """Commit, or return the same reply again if that has happened. Raises NoSuchTransaction (251)."""
        try:
            transaction = self.current(number)
        except CommandError:
            known = await self.outcome(number)
            if known is None:
                raise
            return known
        try:
            await self._engine.execute(transaction.connection, _KEEP_OUTCOME, self.key, number, _COMMITTED)
            await self._engine.execute(transaction.connection, "COMMIT")
        except CommandError:
            await self.abort()
            raise
        await self._end(State.COMMITTED)
        return _COMMITTED

    async def abort(self) -> None:
        """Roll back what is in progress, if anything is."""
        if self.transaction is not None and self.transaction.state is State.IN_PROGRESS:
            await self._end(State.ABORTED)

    async def once(self, number: int, run: Callable[[Connection], Awaitable[bytes]]) -> bytes:
        """Run a retryable write once, or return its stored reply. The reply is committed with the effect."""
        self._expect_new(number)
        if number > self._number:
            await self.abort()
        self._number = number

        async def attempt() -> bytes:
            connection = await self._engine.acquire()
            try:
                await self._engine.execute(connection, "BEGIN")
                known = await self._engine.row(connection, _OUTCOME, self.key, number)
                if known is not None:
                    return bytes(known[0])
                reply = await run(connection)
                await self._engine.execute(connection, _KEEP_OUTCOME, self.key, number, reply)
                await self._engine.execute(connection, "COMMIT")
                return reply
            finally:
                await self._engine.release(connection)

        return await until_no_conflict(attempt)

    async def outcome(self, number: int) -> bytes | None:
        """Return the reply that is stored under a number, or None."""
        async with self._engine.connection() as connection:
            row = await self._engine.row(connection, _OUTCOME, self.key, number)
        return None if row is None else bytes(row[0])

    def _expect_new(self, number: int) -> None:
        if number < self._number:
            raise CommandError(
                225, f"Cannot use transaction number {number}: this session has used {self._number} already."
            )

    async def _end(self, state: State) -> None:
        assert self.transaction is not None
        self.transaction.state = state
        await self._engine.release(self.transaction.connection)


class Sessions:
    """All sessions. Transactions that are idle for too long are aborted, and old sessions are removed."""

    def __init__(self, engine: Engine, *, idle_seconds: float) -> None:
        self._engine = engine
        self._idle_seconds = idle_seconds
        self._sessions: dict[bytes, Session] = {}

    def of(self, key: bytes) -> Session:
        """Return the session with this id. The first use creates it."""
        session = self._sessions.get(key)
        if session is None:
            session = self._sessions[key] = Session(key, self._engine)
        session.used = time.monotonic()
        return session

    async def end(self, key: bytes) -> None:
        """Abort the transaction of a session, and remove the session."""
        session = self._sessions.pop(key, None)
        if session is not None:
            async with session.lock:
                await session.abort()

    async def sweep(self) -> None:
        """Abort transactions that are idle for too long, in an endless loop."""
        while True:
            await asyncio.sleep(min(1.0, self._idle_seconds / 4))
            now = time.monotonic()
            for session in list(self._sessions.values()):
                transaction = session.transaction
                if (
                    transaction is not None
                    and transaction.state is State.IN_PROGRESS
                    and now - transaction.used > self._idle_seconds
                    and not session.lock.locked()
                ):
                    async with session.lock:
                        await session.abort()
                if now - session.used > SESSION_SECONDS:
                    await self.end(session.key)

    async def forget_outcomes(self) -> None:
        """Delete outcomes of sessions that have expired, for ever."""
        sql = f"DELETE FROM gateway.outcomes WHERE at < now() - interval '{SESSION_SECONDS} seconds'"
        while True:
            with contextlib.suppress(CommandError):  # the engine may be away just now
                async with self._engine.connection() as connection:
                    await self._engine.execute(connection, sql)
            await asyncio.sleep(SESSION_SECONDS / 10)
