"""Two platforms on the same real servers: each is a process of `lastro up` that runs every function."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any, Final, TypeVar
from uuid import uuid4

from shared.adapters.keycloak.clients import AdminAccess, RealmClients, admin_api
from shared.core.clock import SystemClock
from shared.identity.tenancy import TENANT_SCOPES
from shared.ports.identity import NewClient
from tests.cli.started import run
from tests.contract.calling import TOKEN_PATH
from tests.faults.client import Client, Credentials
from tests.faults.servers import Layout, Servers
from tests.invariants.armed import CLOCK, SWEEPS
from tests.invariants.crash_client import Platform
from tests.servers.keycloak_server import PLATFORM_CLIENT, PROVISIONING_CLIENT, SECRET
from tests.servers.openbao_server import ROOT_TOKEN
from tests.servers.unleash_server import ADMIN_TOKEN

NAMES: Final = ("a", "b")
BETWEEN_SWEEPS_SECONDS: Final = 3
"""The schedules of the manifests tick every minute. Here they tick more often, and a case does not wait for them."""
SETTINGS: Final = {
    "LASTRO_OUTBOX_GRACE_SECONDS": "2",
    "LASTRO_SAGA_STEP_SECONDS": "10",
    # How long the key of a request in progress stays locked after its process was killed.
    "LASTRO_LOCK_SECONDS": "5",
    "LASTRO_FLAGS_REFRESH_SECONDS": "1",
    "VAULT_TOKEN": ROOT_TOKEN,
    "UNLEASH_ADMIN_TOKEN": ADMIN_TOKEN,
    SWEEPS: str(BETWEEN_SWEEPS_SECONDS),
}
_OPTIONS: Final = "socketTimeoutMS=5000&wTimeoutMS=5000"
"""The longest time that a call of MongoDB waits for an answer, less than by default: a case waits for it."""
T = TypeVar("T")


class Stage:
    """The platforms `a` and `b` on the servers of a layout, with a database, topics and secrets of their own."""

    def __init__(self, servers: Servers, layout: Layout, folder: Path) -> None:
        """Start the servers and prepare them. No platform runs yet. Raises Unavailable."""
        self.servers = servers
        self.layout = layout
        self.is_sound = True
        """False after a case has failed: nothing else may use this stage."""
        self.client: Client | None = None
        """The client of the case that runs."""
        self._folder = folder
        self._platforms: dict[str, Platform] = {}
        self.addresses: dict[str, str] = {}
        """The base URL of each platform that runs."""
        servers.provide(layout)
        self.settings = self._settings()
        replicas = "3" if layout.bus == "kafka-cluster" else "1"
        for command in (("migrate",), ("topics", "apply", "--max-replicas", replicas)):
            done = run(*command, **self.settings)
            assert done.returncode == 0, done.stderr

    def _settings(self) -> dict[str, str]:
        name = f"faults_{uuid4().hex[:8]}"
        urls = {port: self.servers.url(server) for port, server in self.layout._asdict().items() if server}
        query = f"auth=token&kv=kv-{name}&transit=transit-{name}&prefix={name}"
        realm = urls.get("identity", "")
        return {
            **({"LASTRO_IDENTITY": realm, "LASTRO_IDENTITY_CLIENT_SECRET": SECRET} if realm else {}),
            "LASTRO_DOCUMENTS": urls["documents"].replace("/lastro?", f"/{name}?") + f"&{_OPTIONS}",
            "LASTRO_LEDGER": urls["ledger"].replace("/lastro?", f"/{name}?"),
            "LASTRO_CACHE": f"{urls['cache']}?namespace={name}",
            "LASTRO_BUS": f"{urls['bus']}?prefix={name}.&group={name}",
            "LASTRO_SECRETS": f"{urls['secrets']}?{query}",
            "LASTRO_FLAGS": urls["flags"],
            **SETTINGS,
        }

    def log(self, name: str) -> str:
        """Return everything that a platform has logged."""
        return (self._folder / f"{name}.log").read_text()

    async def start(self, name: str, crash_at: str | None = None, *, fast_seconds: float = 0.0) -> None:
        """Start a platform, which dies at a crash point if one is given. Its clock may be fast.

        Raises Died when it ends before it answers.
        """
        settings = self.settings | ({CLOCK: str(fast_seconds)} if fast_seconds else {})
        data_dir = self._folder / name
        platform = await Platform.start(data_dir, crash_at, settings, options=("--no-demo",))
        self._platforms[name] = platform
        self.addresses[name] = platform.base_url

    async def start_missing(self) -> None:
        """Start the platforms that do not run."""
        for name in NAMES:
            if name not in self._platforms:
                await self.start(name)

    async def kill(self, name: str) -> None:
        """Kill a platform, as `kill -9` does."""
        platform = self._platforms.pop(name)
        del self.addresses[name]
        await platform.kill()

    async def died(self, name: str) -> None:
        """Wait until a platform has died."""
        platform = self._platforms[name]
        while platform.alive:  # noqa: ASYNC110 - it has no event for it
            await asyncio.sleep(0.05)
        await self.kill(name)

    async def close(self) -> None:
        """Kill the platforms."""
        for name in list(self._platforms):
            await self.kill(name)

    @property
    def realm(self) -> str:
        """The URL of the realm, or an empty text."""
        return self.settings.get("LASTRO_IDENTITY", "")

    @property
    def token_url(self) -> str:
        """Where clients get their tokens: an absolute URL of the realm, or the path of each platform."""
        return f"{self.realm}/protocol/openid-connect/token" if self.realm else TOKEN_PATH

    async def admit(self, tenant: Credentials) -> None:
        """Register a tenant's client in the realm, if there is one."""
        if not self.realm:
            return
        clients = RealmClients(AdminAccess(PROVISIONING_CLIENT, SECRET, admin_api(self.realm)), SystemClock())
        clients.token_url = self.token_url
        async with aclosing(clients):
            await clients.register(
                NewClient(tenant.client_id, tenant.client_secret, tenant.tenant_id, tuple(TENANT_SCOPES))
            )

    def operator(self) -> Credentials:
        """Return the credentials of the platforms' operator."""
        if self.realm:
            return Credentials(PLATFORM_CLIENT, SECRET)
        known = json.loads((self._folder / "a" / "credentials.json").read_text())["platform"]
        return Credentials(known["client_id"], known["client_secret"])

    async def by_hand(self, action: Callable[..., T], *arguments: Any) -> T:
        """Do something with the servers' processes, while the load goes on."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.servers.hands, action, *arguments)
