"""Builds the adapters of a process and the runtime that uses them, for `lastro up` and for a function that runs alone.

Only this package imports both ports and adapters.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

from shared.adapters.files.keyfile import KeyFileSecrets
from shared.adapters.files.stored_keys import StoredKeys
from shared.adapters.files.yaml_flags import FLAGS_FILE, YamlFlags
from shared.adapters.otlp.export import CLOSE_SECONDS as OTLP_CLOSE_SECONDS
from shared.adapters.otlp.export import connect
from shared.adapters.otlp.variables import read_variables
from shared.adapters.sqlite.lazy_store import LazyStore
from shared.adapters.sqlite.log_bus import LogBus
from shared.bootstrap.starting import refuse_unknown_servers
from shared.context.runtime import RequestQuiet, Runtime
from shared.core.clock import Clock, JumpWatch, SystemClock
from shared.core.randomness import BufferedSystemRandom, SystemSecretSource
from shared.core.settings import Settings
from shared.identity.tokens import JwksClient, KeySource, TokenVerifier
from shared.ports.secrets import Secrets
from shared.telemetry.logs import Logs
from shared.telemetry.recorder import Telemetry

if TYPE_CHECKING:
    from shared.adapters.sqlite.store import SqliteStore, WriterKind
    from shared.ports.cache import Cache
    from shared.ports.documents import Collection, Documents
    from shared.ports.ledger import LedgerStore
    from shared.ports.nonces import Nonces
    from shared.ports.rail import Rail

log = logging.getLogger(__name__)
REALM_PATH: Final = "/realms/lastro"
"""The path of the local issuer. Its issuer URL is the platform's base URL followed by this path."""

_CLOCK_SECONDS: Final = 1.0
_LEAST_CLOSE_SECONDS: Final = 0.5


class Store(Protocol):
    """The four ports that one store implements."""

    @property
    def documents(self) -> Documents:
        """The documents port."""
        ...

    @property
    def ledger(self) -> LedgerStore:
        """The ledger port."""
        ...

    @property
    def cache(self) -> Cache:
        """The cache port."""
        ...

    @property
    def nonces(self) -> Nonces:
        """The nonces port."""
        ...


class Process:
    """The open resources of a process. The end of `async with` closes them in reverse order.

    The constructor opens only what needs no driver. It raises InvalidSettings.
    """

    def __init__(self, settings: Settings, clock: Clock | None = None, logs: Logs | None = None) -> None:
        """`logs` is the logging of the process, or None when it is not set up (pytest has its own)."""
        refuse_unknown_servers(settings)
        self._variables = variables = read_variables(os.environ, settings.trace_ratio)
        self.settings = settings
        self.clock = clock or SystemClock()
        self.secrets = KeyFileSecrets(settings.data_path)
        self.telemetry = Telemetry(
            Random(),  # noqa: S311 - trace ids
            variables.ratio,
            parent_based=variables.parent_based,
        )
        self._closing = AsyncExitStack()
        self._close_by: float | None = None
        if logs is not None:
            self.telemetry.requests, self.telemetry.deliveries = logs.requests, logs.deliveries

    async def __aenter__(self) -> Self:
        self.begin()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._closing.aclose()

    def begin(self) -> None:
        """Start to send telemetry and to watch the clock, on the running event loop. `async with` calls this."""
        link = connect(self.telemetry, self._variables)
        if link is not None:
            self._closing.push_async_callback(link.close)
        watching = asyncio.create_task(watch_clock(self.clock))
        self._closing.push_async_callback(_cancel, watching)

    def close_by(self, loop_time: float) -> None:
        """Set the time of the running event loop by which everything must be closed."""
        self._close_by = loop_time

    def close_later(self, close: Callable[[], Awaitable[object]]) -> None:
        """Call `close` when the process ends, before the resources that were opened earlier are closed."""
        self._closing.push_async_callback(close)

    async def open_store(self, writer: WriterKind) -> SqliteStore:
        """Open and return the embedded store. Raises DataDirectoryInUse, SchemaTooNew or WriterFailed."""
        from shared.adapters.sqlite.store import SqliteStore

        settings = self.settings
        store = await SqliteStore.open(
            settings.data_path, collections=_collections(), settings=settings, clock=self.clock, writer=writer
        )
        self._closing.push_async_callback(self._close_store, store)
        return store

    async def _close_store(self, store: SqliteStore) -> None:
        if self._close_by is None:
            await store.close()
        else:
            left = self._close_by - asyncio.get_running_loop().time() - OTLP_CLOSE_SECONDS
            await store.close(max(left, _LEAST_CLOSE_SECONDS))

    def lazy_store(self) -> LazyStore:
        """Return an embedded store that opens at the first call of one of its ports."""
        store = LazyStore(self.settings, self.clock, _collections)
        self.close_later(store.close)
        return store

    def runtime(
        self, store: Store, keys: KeySource | None = None, request_quiet: RequestQuiet | None = None
    ) -> Runtime:
        """Return the runtime over the resources of this process.

        `keys` verify access tokens. The default is the keys of the configured realm or, without one, the stored keys of
        the local issuer. `request_quiet` is the broker's, when the broker runs in this process.
        """
        return Runtime(
            settings=self.settings,
            clock=self.clock,
            random=BufferedSystemRandom(),
            secret_source=SystemSecretSource(),
            documents=store.documents,
            ledger=store.ledger,
            cache=store.cache,
            nonces=store.nonces,
            bus=LogBus(),
            secrets=self.secrets,
            flags=YamlFlags(self.settings.data_path / FLAGS_FILE),
            verifier=token_verifier(self.settings, self.clock, keys or _keys(self.settings, self.secrets, self.clock)),
            telemetry=self.telemetry,
            rails=self._rails(),
            request_quiet=request_quiet,
        )

    def _rails(self) -> dict[str, Rail]:
        from shared.adapters.pix.rail import PixHttpRail

        rail = PixHttpRail(self.settings.pix_rail)
        self.close_later(rail.aclose)
        return {"pix": rail}


def _collections() -> Sequence[Collection[Any, ...]]:
    # Loaded when a store is opened, because the list imports the records of every domain.
    from shared.records.catalogue import COLLECTIONS

    return COLLECTIONS


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def watch_clock(clock: Clock, pause_seconds: float = _CLOCK_SECONDS) -> None:
    """Log each jump of the wall clock once, until the task is cancelled."""
    watch = JumpWatch(clock)
    while True:
        await asyncio.sleep(pause_seconds)
        jump = watch.check()
        if jump:
            direction = "forwards" if jump > 0 else "back"
            log.warning("the machine's clock was set %s by %.1f s; it now shows %s", direction, abs(jump), clock.now())


def issuer_url(settings: Settings) -> str:
    """Return the URL of the issuer of access tokens: the configured realm, or the local issuer."""
    return settings.identity or settings.base_url.rstrip("/") + REALM_PATH


def _keys(settings: Settings, secrets: Secrets, clock: Clock) -> KeySource:
    return JwksClient(settings.identity, clock) if settings.identity else StoredKeys(secrets)


def token_verifier(settings: Settings, clock: Clock, keys: KeySource) -> TokenVerifier:
    """Return a verifier of the issuer's tokens that uses these keys."""
    leeway = timedelta(seconds=settings.token_leeway_seconds)
    return TokenVerifier(issuer_url(settings), settings.audience, keys, clock, leeway)
