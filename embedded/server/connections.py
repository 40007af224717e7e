"""The open connections: their bound, the choice of the one to close when there are too many, and their deadlines."""

from __future__ import annotations

import asyncio
import logging
from email.utils import formatdate
from typing import Final, Protocol

log = logging.getLogger(__name__)
TICK_SECONDS: Final = 1
REPORT_SECONDS: Final = 60
"""The shortest time between two log lines about a shortage of connections, in seconds."""
NEVER: Final = float("inf")


class OpenConnection(Protocol):
    """The part of a connection that this module uses. `deadline` is a time of `Connections.now`, or NEVER."""

    deadline: float

    def expire(self) -> None:
        """Called when the deadline has passed: the client was too slow."""
        ...

    def abort(self) -> None:
        """Close immediately. Data that was not sent is lost."""
        ...

    def stop(self) -> None:
        """Answer the requests that have arrived, then close."""
        ...

    def cancel(self) -> None:
        """Cancel the request in progress, if there is one."""
        ...


class Connections:
    """All connections of a server.

    Time is counted in ticks, one per second while the event loop runs. If the loop was blocked for a while, the data
    that clients sent meanwhile is read before a deadline passes.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.now = 0
        self.date = formatdate(usegmt=True)
        """The `Date` header of every response (RFC 9110 §6.6.1)."""
        self.open: set[OpenConnection] = set()
        self.answering: set[OpenConnection] = set()
        """Connections with a request in progress. The client may have disconnected."""
        # Connections without a request in progress, in the order in which they began to wait for a complete request.
        self._waiting: dict[OpenConnection, None] = {}
        self._leaving: set[OpenConnection] = set()
        self._changed = asyncio.Event()
        self._shortage = _Shortage(limit)

    def enter(self, connection: OpenConnection) -> None:
        """Add a new connection, which waits for its first request."""
        self.open.add(connection)
        self._waiting[connection] = None

    def leave(self, connection: OpenConnection) -> None:
        """Remove a connection that is closed, and wake the callers that wait for connections to close."""
        self.open.discard(connection)
        self._leaving.discard(connection)
        self._waiting.pop(connection, None)
        self._changed.set()

    def begin(self, connection: OpenConnection) -> None:
        """Note that a request of this connection is in progress. It has no deadline."""
        self._waiting.pop(connection, None)
        self.answering.add(connection)
        connection.deadline = NEVER

    def end(self, connection: OpenConnection) -> None:
        """Note that the request is answered. The connection waits for the next one."""
        self.answering.discard(connection)
        if connection in self.open:
            self._waiting[connection] = None
        self._changed.set()

    async def room(self, newest: OpenConnection) -> None:
        """Wait until the number of connections is within the limit.

        The connection that has waited longest for a complete request is closed to make room. If all others have a
        request in progress, no connection is closed: `newest` exceeds the limit by one, and this returns when one of
        the requests is answered.
        """
        delayed = False
        while len(self.open) > self.limit:
            self._changed.clear()
            if len(self.open) - len(self._leaving) > self.limit and not self.make_room(newest) and not delayed:
                delayed = True
                self._shortage.delayed += 1
                self._shortage.report(self.now)
            await self._changed.wait()

    def make_room(self, newest: OpenConnection | None = None) -> bool:
        """Close the connection that has waited longest, but not `newest`. Return False if none waits."""
        longest = next((connection for connection in self._waiting if connection is not newest), None)
        if longest is None:
            return False
        del self._waiting[longest]
        self._leaving.add(longest)
        longest.abort()
        self._shortage.closed += 1
        self._shortage.report(self.now)
        return True

    def refused_by_system(self, error: OSError) -> None:
        """Handle that the system refused a connection to this process: close one that waits for a request."""
        self._shortage.error = str(error.strerror)
        self.make_room()
        self._shortage.report(self.now)

    async def none_left(self) -> None:
        """Wait until all connections are closed and no request is in progress."""
        while self.open or self.answering:
            self._changed.clear()
            await self._changed.wait()

    def tick(self) -> None:
        """Count one second, and handle the deadlines that have passed."""
        self.now += TICK_SECONDS
        self.date = formatdate(usegmt=True)
        for connection in [found for found in self.open if found.deadline < self.now]:
            connection.expire()
        self._shortage.report(self.now)


class _Shortage:
    """Logs a shortage of connections: the first case immediately, further cases together once a minute."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._next_report = 0
        self.closed = 0
        self.delayed = 0
        self.error = ""

    def report(self, now: int) -> None:
        if now < self._next_report or not (self.closed or self.delayed or self.error):
            return
        log.warning(
            "all %d connections are in use: closed %d that waited for a request, delayed %d new ones%s. Raise "
            "LASTRO_MAX_CONNECTIONS and the limit of open files (ulimit -n), or find the clients that hold them",
            self._limit,
            self.closed,
            self.delayed,
            f", the system refused one ({self.error})" if self.error else "",
        )
        self.closed = self.delayed = 0
        self.error = ""
        self._next_report = now + REPORT_SECONDS
