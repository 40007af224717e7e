"""The gateway: the connections of clients, and the transaction or retryable write to which a command belongs."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import time
from asyncio import StreamReader, StreamWriter
from collections.abc import Mapping
from typing import Any, Final

import bson

from tests.servers.mongo_gateway import wire
from tests.servers.mongo_gateway.commands import IN_TRANSACTIONS, RETRYABLE, Call, Commands, name_of
from tests.servers.mongo_gateway.cursors import Cursors
from tests.servers.mongo_gateway.engine import Connection, Engine
from tests.servers.mongo_gateway.errors import CommandError
from tests.servers.mongo_gateway.fail_points import FailPoints
from tests.servers.mongo_gateway.sessions import Session, Sessions

TRANSACTION_SECONDS: Final = 60.0
_log = logging.getLogger("gateway")


class Gateway:
    """Answers MongoDB's clients with the engine."""

    def __init__(self, engine: Engine, address: str, *, transaction_seconds: float = TRANSACTION_SECONDS) -> None:
        self._sessions = Sessions(engine, idle_seconds=transaction_seconds)
        self._cursors = Cursors(engine)
        self._commands = Commands(engine, self._sessions, self._cursors, address)
        self._failing = FailPoints()
        self._replies = itertools.count(1)
        self._clients = itertools.count(1)

    async def sweep(self) -> None:
        """Abort and close idle transactions and cursors, in an endless loop."""
        await asyncio.gather(self._sessions.sweep(), self._cursors.sweep(), self._sessions.forget_outcomes())

    async def serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Answer the messages of one client until it disconnects."""
        client = next(self._clients)
        application = ""
        try:
            while (message := await wire.read(reader)) is not None:
                name = name_of(message.command)
                if name == "hello":
                    application = _application(message.command) or application
                failure = self._failing.of(name, application)
                if failure is not None and failure.closes and not failure.after:
                    return
                reply = await self._reply(message.command, client, failure.error if failure else None)
                if failure is not None and failure.closes:
                    return
                if message.wants_reply:
                    writer.write(wire.written(message, next(self._replies), reply))
                    await writer.drain()
        except wire.MalformedMessage as error:
            _log.warning("client %d: %s", client, error)
        except ConnectionError:
            pass  # the client has disconnected
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _reply(self, command: Mapping[str, Any], client: int, failure: CommandError | None) -> bytes:
        call = Call(name_of(command), str(command.get("$db", "test")), command, client)
        if failure is not None:
            return bson.encode(failure.reply())
        try:
            return await self._run(call)
        except CommandError as error:
            return bson.encode(error.reply())
        except Exception as error:  # noqa: BLE001 - the client gets the error, and the log all of it
            _log.exception("%s", call.name)
            return bson.encode(CommandError(1, f"the gateway's error: {error!r}").reply())

    async def _run(self, call: Call) -> bytes:
        if call.name == "configureFailPoint":
            self._failing.configure(bson.decode(bson.encode(call.command)))
            return bson.encode({"ok": 1.0})
        lsid, number, autocommit = (call.command.get(field) for field in ("lsid", "txnNumber", "autocommit"))
        if number is None:
            if lsid is not None:
                self._sessions.of(bytes(lsid["id"]))
            return await self._commands.run(call)
        if lsid is None:
            raise CommandError(72, "Transaction number requires a session ID to also be specified")
        session = self._sessions.of(bytes(lsid["id"]))
        async with session.lock:
            if autocommit is not False:
                return await self._retryable_write(call, session, int(number))
            if call.name == "commitTransaction":
                return await _committed(session, int(number))
            if call.name == "abortTransaction":
                session.current(int(number))
                await session.abort()
                return bson.encode({"ok": 1.0})
            return await self._in_transaction(call, session, int(number))

    async def _retryable_write(self, call: Call, session: Session, number: int) -> bytes:
        if call.name not in RETRYABLE:
            raise CommandError(
                50768,
                f"txnNumber may only be provided for multi-document transactions and retryable "
                f"write commands; {call.name} is neither",
            )

        async def run(connection: Connection) -> bytes:
            return await self._commands.run(call._replace(connection=connection))

        try:
            return await session.once(number, run)
        except CommandError as error:
            raise error.within(retryable_write=True) from None

    async def _in_transaction(self, call: Call, session: Session, number: int) -> bytes:
        """Run a command of a transaction. As in mongod, any error aborts the transaction, also a write error."""
        if call.name not in IN_TRANSACTIONS:
            raise CommandError(263, f"Cannot run '{call.name}' in a multi-document transaction.")
        try:
            begins = bool(call.command.get("startTransaction"))
            transaction = await session.begin(number) if begins else session.current(number)
            reply = await self._commands.run(call._replace(transaction=transaction, connection=transaction.connection))
            transaction.used = time.monotonic()
        except CommandError as error:
            await session.abort()
            raise error.within(transaction=True) from None
        except BaseException:
            await session.abort()
            raise
        if "writeErrors" in wire.fields(reply):
            await session.abort()
        return reply


async def _committed(session: Session, number: int) -> bytes:
    try:
        return await session.commit(number)
    except CommandError as error:
        # When the connection to the engine is lost, the outcome is unknown: a driver then asks again, without this
        # label.
        raise error.within(transaction=error.code != 6) from None


def _application(command: Mapping[str, Any]) -> str:
    client = command.get("client")
    return str(client["application"]["name"]) if client is not None and "application" in client else ""
