"""Databases of the tests' own on a MongoDB server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import aclosing, suppress
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import uuid4

from shared.adapters.mongodb.driver import CommandListener, Server
from shared.adapters.mongodb.migration import migrate
from shared.adapters.mongodb.schema import definitions
from shared.ports.documents import Collection, Unavailable
from tests.waiting import PATIENCE_SECONDS

_WAITS: Final = ("connectTimeoutMS", "serverSelectionTimeoutMS", "socketTimeoutMS", "wTimeoutMS")
_MILLISECONDS: Final = int(PATIENCE_SECONDS * 1000)


def new_database(url: str) -> str:
    """Return the URL of a database for one test, with timeouts that are long enough for a slow machine."""
    parts = urlsplit(url)
    waits = "&".join(f"{name}={_MILLISECONDS}" for name in _WAITS)
    return parts._replace(path=f"/test_{uuid4().hex[:12]}", query=f"{parts.query}&{waits}").geturl()


def migrated(url: str, collections: Iterable[Collection[Any, ...]]) -> None:
    """Create the collections in the database of a URL. Called outside of an event loop."""

    async def run() -> None:
        async with aclosing(Server(url)) as server:
            await migrate(server, collections, lambda step: None)

    asyncio.run(run())


def dropped(url: str) -> None:
    """Drop the database of a URL, unless the server is gone."""

    async def run() -> None:
        async with aclosing(Server(url)) as server:
            with suppress(Unavailable):
                await server.command({"dropDatabase": 1})

    asyncio.run(run())


async def emptied(url: str, collections: Iterable[Collection[Any, ...]], *listeners: CommandListener) -> Server:
    """Return the database of a URL, connected, after the deletion of all documents."""
    server = Server(url, listeners)
    for definition in definitions(collections):
        await server.command({"delete": definition.name, "deletes": [{"q": {}, "limit": 0}]})
    return server


class Recorder(CommandListener):
    """Records the names of the commands that the driver sends."""

    def __init__(self) -> None:
        self.commands: list[str] = []

    def started(self, event: Any) -> None:
        """Record a command."""
        self.commands.append(event.command_name)

    def succeeded(self, event: Any) -> None:
        """Do nothing."""

    def failed(self, event: Any) -> None:
        """Do nothing."""

    def drain(self) -> Sequence[str]:
        """Return the commands since the last call."""
        commands, self.commands = self.commands, []
        return commands
