"""Cursors: the rest of a result after its first page, until it is read, killed, or idle for too long."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Mapping
from typing import Any, Final

import bson

from tests.servers.mongo_gateway.engine import Connection, Engine
from tests.servers.mongo_gateway.errors import CommandError
from tests.servers.mongo_gateway.sessions import State, Transaction
from tests.servers.mongo_gateway.wire import fields

IDLE_SECONDS: Final = 600.0


class Cursor:
    """A position in a result: a sorted or grouped result is held by its connection, another is in `continuation`."""

    def __init__(
        self, database: str, continuation: bytes | None, held: Connection | None, transaction: Transaction | None
    ) -> None:
        self.database = database
        self.continuation = continuation
        self.held = held
        self.transaction = transaction
        self.lock = asyncio.Lock()
        self.used = time.monotonic()


class Cursors:
    """All open cursors, by id."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._cursors: dict[int, Cursor] = {}

    async def first_page(
        self,
        function: str,
        database: str,
        spec: Mapping[str, Any],
        transaction: Transaction | None,
        seconds: float | None,
    ) -> bytes:
        """Return the reply to a command that answers with a cursor."""
        number = secrets.randbelow(2**62) + 1
        connection = await self._engine.acquire() if transaction is None else transaction.connection
        held = False
        try:
            row = await self._engine.call(connection, function, database, spec, number, seconds=seconds)
            is_open = row["cursorid"] != 0
            held = is_open and row["persistconnection"] and transaction is None
            if is_open:
                self._cursors[number] = Cursor(database, row["continuation"], connection if held else None, transaction)
            return bytes(row["cursorpage"])
        finally:
            if transaction is None and not held:
                await self._engine.release(connection)

    async def next_page(self, number: int, spec: Mapping[str, Any], seconds: float | None) -> bytes:
        """Return the reply to getMore. Raises CursorNotFound (43)."""
        cursor = self._cursors.get(number)
        if cursor is None or (cursor.transaction is not None and cursor.transaction.state is not State.IN_PROGRESS):
            raise CommandError(43, f"cursor id {number} not found")
        async with cursor.lock:
            cursor.used = time.monotonic()
            if cursor.held is not None:
                connection = cursor.held
            elif cursor.transaction is not None:
                connection = cursor.transaction.connection
            else:
                connection = await self._engine.acquire()
            try:
                sql = "SELECT * FROM documentdb_api.cursor_get_more($1, $2, $3)"
                row = await self._engine.row(
                    connection, sql, cursor.database, bson.encode(spec), cursor.continuation, seconds=seconds
                )
            finally:
                if cursor.held is None and cursor.transaction is None:
                    await self._engine.release(connection)
            cursor.continuation = row["continuation"]
        reply = bytes(row["cursorpage"])
        if fields(fields(reply)["cursor"])["id"] == 0:
            await self.kill(number)
        return reply

    async def kill(self, number: int) -> bool:
        """Close a cursor. Returns whether there was one."""
        cursor = self._cursors.pop(number, None)
        if cursor is None:
            return False
        if cursor.held is not None:
            async with cursor.lock:
                await self._engine.release(cursor.held, cursors=True)
        return True

    async def sweep(self) -> None:
        """Close cursors that are idle for too long, in an endless loop."""
        while True:
            await asyncio.sleep(IDLE_SECONDS / 20)
            old = time.monotonic() - IDLE_SECONDS
            for number in [number for number, cursor in self._cursors.items() if cursor.used < old]:
                await self.kill(number)
