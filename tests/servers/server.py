"""What the machinery needs to know about a server."""

from __future__ import annotations

from typing import ClassVar, Protocol

from tests.servers.processes import Processes


class Server(Protocol):
    """A kind of server that tests use. It listens on 127.0.0.x only, on free ports."""

    name: ClassVar[str]
    """As in `task servers:up NAME`."""

    port: ClassVar[str | None]
    """The platform's port that it stands behind: LASTRO_<PORT> is the setting. None if there is no such port."""

    def install(self) -> None:
        """Download what is missing in the cache. Raises Unavailable."""

    def start(self, processes: Processes) -> str:
        """Start it with empty data, wait until it answers, and return its URL. Raises Unavailable."""
