"""The interface of a server for tests."""

from __future__ import annotations

from typing import ClassVar, Protocol

from tests.servers.processes import Processes


class Server(Protocol):
    """A kind of server that tests use. It listens only on 127.0.0.x, on free ports."""

    name: ClassVar[str]
    """The name, as in `task servers:up NAME`."""

    def install(self) -> None:
        """Download missing files into the cache. Raises Unavailable."""

    def start(self, processes: Processes) -> str:
        """Start it with empty data, wait until it answers, and return its URL. Raises Unavailable."""
