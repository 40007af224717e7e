"""Unleash, from npm, with its own PostgreSQL."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Final

import httpx

from tests.servers.installing import installed, program, run
from tests.servers.postgres import postgres_root, start_postgres
from tests.servers.processes import Processes, free_port

VERSION: Final = "8.2.0"
ADMIN_TOKEN: Final = "*:*.admin-of-the-tests"
CLIENT_TOKEN: Final = "default:development.client-of-the-tests"
"""The tokens give access only to servers on 127.0.0.1."""
_WANTED_FOR: Final = "Unleash"


class UnleashServer:
    """One server with the project `default` and the environment `development`."""

    name: ClassVar[str] = "unleash"

    def install(self) -> None:
        """Install it with npm, once for each version, and PostgreSQL."""
        postgres_root(wanted_for=_WANTED_FOR)
        self._folder()

    def start(self, processes: Processes) -> str:
        """Return unleash+http://:TOKEN@127.0.0.1:PORT/api when its tables exist and it is healthy."""
        database = start_postgres(processes, "database", wanted_for=_WANTED_FOR)
        address = f"127.0.0.1:{free_port()}"
        host, _, port = address.partition(":")
        processes.start(
            "unleash",
            [_node(), str(self._folder() / "node_modules/unleash-server/dist/server.js")],
            environment={
                "DATABASE_URL": f"postgres://postgres@127.0.0.1:{database}/postgres",
                "DATABASE_SSL": "false",
                "HTTP_HOST": host,
                "HTTP_PORT": port,
                "INIT_ADMIN_API_TOKENS": ADMIN_TOKEN,
                "INIT_BACKEND_API_TOKENS": CLIENT_TOKEN,
                "CHECK_VERSION": "false",
                "SEND_TELEMETRY": "false",
            },
        )
        processes.wait_until(lambda: httpx.get(f"http://{address}/health").raise_for_status(), "Unleash")
        return f"unleash+http://:{CLIENT_TOKEN}@{address}/api"

    @staticmethod
    def api_of(url: str) -> str:
        """Return the URL of the API, without the token, of a URL that `start` has returned."""
        return f"http://{url.rpartition('@')[2]}"

    @staticmethod
    def _folder() -> Path:
        return installed(f"unleash-{VERSION}", _fetch)


def _node() -> str:
    return program("node", wanted_for=_WANTED_FOR, package="nodejs")


def _fetch(folder: Path) -> None:
    npm = program("npm", wanted_for=_WANTED_FOR, package="npm")
    quiet = ["--no-audit", "--no-fund", "--ignore-scripts", "--omit=dev"]
    command = [npm, "install", "--prefix", str(folder), *quiet, f"unleash-server@{VERSION}"]
    run(command, folder.with_name(f"{folder.name}.log"), cwd=folder)
