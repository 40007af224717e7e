"""The servers of the faults: each runs in processes that may be killed, single ones behind a proxy that may be cut.

Servers are started when a case needs them, and stopped when no further case does, so that a small machine has room.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, NamedTuple

import hvac

from tests.servers.cassandra_server import CassandraClusterServer, CassandraServer
from tests.servers.kafka_server import KafkaClusterServer, KafkaServer
from tests.servers.keycloak_server import KeycloakServer
from tests.servers.mongodb_server import MongodbServer
from tests.servers.openbao_server import ROOT_TOKEN, OpenbaoServer
from tests.servers.processes import Advertised, Processes
from tests.servers.redis_sentinel_server import RedisSentinelServer
from tests.servers.redis_server import RedisServer
from tests.servers.server import Server
from tests.servers.toxiproxy_server import Proxy, ToxiproxyServer
from tests.servers.unleash_server import UnleashServer

TRANSACTION_SECONDS: Final = 5
"""How long the document store lets a transaction of a killed process block others (docs/settings.md says: about 10)."""
_ADDRESS: Final = re.compile(r"127\.0\.0\.1:\d+")


class Layout(NamedTuple):
    """The server that stands behind each port of the platform, by its name in tests/servers/catalogue.py."""

    documents: str = "mongodb"
    ledger: str = "cassandra"
    cache: str = "redis"
    bus: str = "kafka"
    secrets: str = "openbao"
    flags: str = "unleash"
    identity: str = ""
    """Empty where the platforms issue their tokens themselves."""


class _Running(NamedTuple):
    """A running server: its processes, its own URL, and the URL through its proxy (the same without one)."""

    processes: Processes
    url: str
    shown: str
    proxy: Proxy | None


class Servers:
    """Starts, breaks and stops servers.

    Everything that starts a process is done by one thread, `hands`: the kernel ends a process of the tests when the
    thread that started it ends, and the load must go on meanwhile in the thread of the event loop.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: dict[str, _Running] = {}
        self._proxies: Processes | None = None
        self._api = ""
        self._made: list[Proxy] = []
        self.hands = ThreadPoolExecutor(1, thread_name_prefix="servers")

    def close(self) -> None:
        """Stop everything."""
        self.hands.submit(self._close).result()
        self.hands.shutdown()

    def _close(self) -> None:
        self._stop(list(self._running))
        if self._proxies is not None:
            self._proxies.stop()

    def provide(self, layout: Layout) -> None:
        """Start the servers of a layout that do not run, and stop all others. Raises Unavailable."""
        self.hands.submit(self._provide, layout).result()

    def _provide(self, layout: Layout) -> None:
        self._stop([name for name in self._running if name not in layout])
        if self._proxies is None:
            self._proxies = Processes(self._folder / "toxiproxy")
            proxies = ToxiproxyServer()
            proxies.install()
            self._api = proxies.start(self._proxies)
        for name in filter(None, layout):
            if name not in self._running:
                self._running[name] = self._started(name)

    def _stop(self, names: Iterable[str]) -> None:
        for name in names:
            stopped = self._running.pop(name)
            stopped.processes.stop()
            if stopped.proxy is not None:
                stopped.proxy.__exit__()

    def _started(self, name: str) -> _Running:
        processes = Processes(self._folder / name)
        made: list[Proxy] = []

        def advertised(address: str) -> str:
            made.append(Proxy(self._api, address))
            return made[0].address

        server = _SERVERS[name](advertised)
        server.install()
        try:
            shown = server.start(processes)
        except BaseException:
            processes.stop()
            raise
        url = shown
        if name in _BEHIND_A_PROXY and not made:
            [own] = _ADDRESS.findall(url)
            shown = url.replace(own, advertised(own))
        return _Running(processes, url, shown, made[0] if made else None)

    def url(self, name: str) -> str:
        """Return the URL at which the platforms reach a server."""
        return self._running[name].shown

    def past_the_proxy(self, name: str, url: str) -> str:
        """Return a URL of a server with the server's own address, instead of that of its proxy."""
        proxy = self._running[name].proxy
        if proxy is None:
            return url
        # The server of MongoDB's protocol would tell the address of the proxy.
        return url.replace(proxy.address, proxy.server).replace("replicaSet=rs0", "directConnection=true")

    def processes(self, name: str) -> Processes:
        """Return the processes of a server."""
        return self._running[name].processes

    def proxy(self, name: str) -> Proxy:
        """Return the proxy in front of a server."""
        proxy = self._running[name].proxy
        assert proxy is not None, f"there is no proxy in front of {name}"
        return proxy

    def vault(self) -> tuple[Any, str]:
        """Return a client of the Vault with all rights, and the key that unseals it."""
        running = self._running["openbao"]
        running.processes.wait_until_it_says("openbao", "Unseal Key: ")
        found = re.search(r"Unseal Key: (\S+)", running.processes.log("openbao").read_text())
        assert found is not None
        return hvac.Client(running.url.removeprefix("vault+"), token=ROOT_TOKEN), found[1]


_SERVERS: Final[Mapping[str, Callable[[Advertised], Server]]] = {
    "mongodb": lambda advertised: MongodbServer(
        fsync=True, transaction_seconds=TRANSACTION_SECONDS, advertised=advertised
    ),
    "cassandra": lambda _: CassandraServer(),
    "cassandra-cluster": lambda _: CassandraClusterServer(),
    "redis": lambda _: RedisServer(),
    "redis-sentinel": lambda _: RedisSentinelServer(),
    "kafka": KafkaServer,
    "kafka-cluster": lambda _: KafkaClusterServer(),
    "openbao": lambda _: OpenbaoServer(),
    "unleash": lambda _: UnleashServer(),
    "keycloak": KeycloakServer,
}
_BEHIND_A_PROXY: Final = frozenset({"mongodb", "cassandra", "redis", "kafka", "openbao", "unleash"})
