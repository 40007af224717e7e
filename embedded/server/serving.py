"""Serves an application on a listening socket."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from typing import Final

from embedded.server.connections import TICK_SECONDS, Connections
from embedded.server.protocol import Application, Connection
from shared.core.settings import Settings

log = logging.getLogger(__name__)
REFUSED_SECONDS: Final = 0.25
"""The longest time that clients have to read the responses to cancelled requests, in seconds."""
RETRY_SECONDS: Final = 0.1
"""The pause after the system refused a connection to this process, in seconds."""


class Server:
    """Accepts connections until it is stopped.

    It accepts one connection at a time, and the next one when the number of connections is within the limit. Until
    then the next one waits in the backlog of the system, where it uses no file of this process.
    """

    def __init__(self, application: Application, settings: Settings, listening: socket.socket, limit: int) -> None:
        self._application = application
        self._settings = settings
        self._listening = listening
        self.connections = Connections(limit)
        self._ticking: asyncio.TimerHandle | None = None

    def start(self) -> asyncio.Task[None]:
        """Begin to accept connections. The returned task ends when the server is stopped, or with an error."""
        self._listening.setblocking(False)
        self._accepting = asyncio.ensure_future(self._accept())
        self._tick_later()
        return self._accepting

    async def stop(self, seconds: float) -> None:
        """Accept no more connections and answer the requests that have arrived.

        Requests that take longer than `seconds` are cancelled and answered with 503.
        """
        self._accepting.cancel()
        await asyncio.wait((self._accepting,))
        self._listening.close()
        connections = self.connections
        for connection in tuple(connections.open):
            connection.stop()
        try:
            async with asyncio.timeout(seconds):
                await connections.none_left()
        except TimeoutError:
            await self._cancel(seconds)
        if self._ticking is not None:
            self._ticking.cancel()

    async def _cancel(self, seconds: float) -> None:
        connections = self.connections
        cancelled = tuple(connections.answering)
        if cancelled:
            log.warning(
                "cancelled %d requests that were not answered within %s seconds of the stop", len(cancelled), seconds
            )
        for connection in cancelled:
            connection.cancel()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(REFUSED_SECONDS):
                await connections.none_left()
        for connection in tuple(connections.open):
            connection.abort()
        await connections.none_left()

    def _tick_later(self) -> None:
        self._ticking = asyncio.get_running_loop().call_later(TICK_SECONDS, self._tick)

    def _tick(self) -> None:
        self._tick_later()
        self.connections.tick()

    async def _accept(self) -> None:
        while True:
            try:
                accepted = await self._accepted()
            except ConnectionError:  # the client has already disconnected
                continue
            except OSError as error:
                self.connections.refused_by_system(error)
                await asyncio.sleep(RETRY_SECONDS)
                continue
            connection = Connection(self._application, self.connections, self._settings)
            await self._serve(connection, accepted)
            await self.connections.room(connection)

    async def _accepted(self) -> socket.socket:
        accepted, _ = await asyncio.get_running_loop().sock_accept(self._listening)
        return accepted

    async def _serve(self, connection: Connection, accepted: socket.socket) -> None:
        try:
            accepted.setsockopt(
                socket.IPPROTO_TCP, socket.TCP_NODELAY, 1
            )  # asyncio sets it only if the listening socket was made with the number of the protocol
            await asyncio.get_running_loop().connect_accepted_socket(lambda: connection, accepted)
        except OSError as error:
            accepted.close()
            log.debug("a connection was closed before its first request: %s", error)
