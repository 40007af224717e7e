"""Toxiproxy, by the Go toolchain: a TCP proxy that delays and cuts connections to the servers behind it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Final, Self

import httpx

from tests.servers.installing import installed, program, run
from tests.servers.processes import Processes, free_port

VERSION: Final = "2.12.0"
_SOURCE: Final = f"github.com/Shopify/toxiproxy/v2/cmd/server@v{VERSION}"
_API_SECONDS: Final = 60


class ToxiproxyServer:
    """Its API makes proxies: see `Proxy`."""

    name: ClassVar[str] = "toxiproxy"

    def install(self) -> None:
        """Build it, once for each version."""
        self._program()

    def start(self, processes: Processes) -> str:
        """Return the URL of its API, http://127.0.0.1:PORT, when that answers."""
        port = free_port()
        processes.start("toxiproxy", [str(self._program()), "-host", "127.0.0.1", "-port", str(port)])
        url = f"http://127.0.0.1:{port}"
        processes.wait_until(lambda: httpx.get(f"{url}/version").raise_for_status(), "Toxiproxy")
        return url

    @staticmethod
    def _program() -> Path:
        return installed(f"toxiproxy-{VERSION}", _build) / "server"


class Proxy:
    """A proxy of Toxiproxy in front of a server: `address` is where clients connect instead."""

    def __init__(self, api: str, server: str) -> None:
        self.server = server
        self.address = f"127.0.0.1:{free_port()}"
        self._client = httpx.Client(base_url=api, timeout=_API_SECONDS)
        self._name = self.address.replace(":", "-")
        proxy = {"name": self._name, "listen": self.address, "upstream": server, "enabled": True}
        self._client.post("/proxies", json=proxy).raise_for_status()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.delete(f"/proxies/{self._name}").raise_for_status()
        self._client.close()

    def cut(self) -> None:
        """Close all connections and refuse new ones."""
        self._set(enabled=False)

    def restore(self) -> None:
        """Accept connections again, and remove what `add` has added."""
        for toxic in self._client.get(f"/proxies/{self._name}/toxics").raise_for_status().json():
            self._client.delete(f"/proxies/{self._name}/toxics/{toxic['name']}").raise_for_status()
        self._set(enabled=True)

    def add(self, kind: str, *, stream: str = "downstream", **attributes: int) -> None:
        """Disturb a direction, by `latency`, `bandwidth`, `timeout`, `limit_data` or another of Toxiproxy's toxics."""
        toxic: dict[str, Any] = {"name": f"{kind}-{stream}", "type": kind, "stream": stream, "attributes": attributes}
        self._client.post(f"/proxies/{self._name}/toxics", json=toxic).raise_for_status()

    def _set(self, *, enabled: bool) -> None:
        self._client.post(f"/proxies/{self._name}", json={"enabled": enabled}).raise_for_status()


def _build(folder: Path) -> None:
    go = program("go", wanted_for="Toxiproxy", package="golang-go")
    environment = {"GOBIN": str(folder), "GOFLAGS": "-mod=mod"}
    run([go, "install", _SOURCE], folder.with_name(f"{folder.name}.log"), environment=environment)
