"""Builds the adapters of a process and the runtime that uses them, for `lastro up` and for a function that runs alone.

Only this package imports both ports and adapters.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self, TypeVar, cast

from shared.adapters.bank_transfer.rail import HttpBankTransfers
from shared.adapters.card.gateway import CardHttpGateway
from shared.adapters.files.stored_keys import StoredKeys
from shared.adapters.notifiers.choosing import notifiers
from shared.adapters.otlp.export import CLOSE_SECONDS as OTLP_CLOSE_SECONDS
from shared.adapters.otlp.export import exporter
from shared.adapters.otlp.variables import read_variables
from shared.adapters.outgoing.client import HttpOutgoing
from shared.adapters.pix.rail import PixHttpRail
from shared.adapters.providers.credentials import Credentials
from shared.adapters.sqlite.log_bus import LogBus
from shared.bootstrap.adapters import EMBEDDED, OPENERS, SQLITE, Choice, choose, make_adapter
from shared.bootstrap.lazy import (
    LazyAdapter,
    LazyBus,
    LazyCache,
    LazyDocuments,
    LazyFlags,
    LazyIdentity,
    LazyLedger,
    LazyNonces,
    LazyRateLimits,
    LazySecrets,
    port_of,
)
from shared.context.runtime import RequestQuiet, Runtime
from shared.core.clock import Clock, JumpWatch, SystemClock
from shared.core.randomness import BufferedSystemRandom, SystemSecretSource
from shared.core.settings import InvalidSettings, Settings
from shared.identity.tokens import TokenVerifier
from shared.ports.lifecycle import Adapter, AdapterOptions, WriterKind
from shared.telemetry.logs import Logs
from shared.telemetry.recorder import Telemetry

if TYPE_CHECKING:
    from shared.adapters.sqlite.store import SqliteStore
    from shared.ports.bus import Bus
    from shared.ports.cache import Cache
    from shared.ports.documents import Collection, Documents
    from shared.ports.flags import Flags
    from shared.ports.identity import Identity, KeySource
    from shared.ports.ledger import LedgerStore
    from shared.ports.nonces import Nonces
    from shared.ports.rate_limits import RateLimits
    from shared.ports.secrets import Secrets

log = logging.getLogger(__name__)
REALM_PATH: Final = "/realms/lastro"
"""The path of the local issuer. Its issuer URL is the platform's base URL followed by this path."""

_CLOCK_SECONDS: Final = 1.0
_LEAST_CLOSE_SECONDS: Final = 0.5
A = TypeVar("A", bound=Adapter)


class Ports(NamedTuple):
    """The ports of a process, from the adapters that the settings select."""

    documents: Documents
    ledger: LedgerStore
    nonces: Nonces
    cache: Cache
    bus: Bus
    secrets: Secrets
    flags: Flags
    identity: Identity | None = None
    """None without LASTRO_IDENTITY: the issuer is the local one."""
    rate_limits: RateLimits | None = None


class Process:
    """The open resources of a process. The end of `async with` closes them in reverse order.

    The constructor opens only what needs no driver. When an opening fails or is cancelled, the resources that were
    opened before are closed, too.
    """

    def __init__(self, settings: Settings, clock: Clock | None = None, logs: Logs | None = None) -> None:
        """`logs` is the logging of the process, or None when it is not set up (pytest has its own).

        Raises InvalidSettings.
        """
        self._choices = choose(settings)
        self._ready_ports = ready_ports(settings)
        self._variables = variables = read_variables(os.environ, settings.trace_ratio)
        self.settings = settings
        self.clock = clock or SystemClock()
        self.telemetry = Telemetry(
            Random(),  # noqa: S311 - trace ids
            variables.ratio,
            parent_based=variables.parent_based,
        )
        self._rail = PixHttpRail(
            settings.pix_rail,
            settings.pix_key,
            credentials=pix_credentials(settings),
            ispb=settings.pix_ispb,
            city=settings.pix_city,
        )
        self._card_gateway = CardHttpGateway(settings.card_gateway, credentials=card_credentials(settings))
        self._bank = HttpBankTransfers(settings.bank_rail, credentials=bank_credentials(settings))
        self._outgoing = HttpOutgoing(settings)
        self._notifiers = notifiers(settings)
        self._closing = AsyncExitStack()
        self._close_by: float | None = None
        self._adapters: dict[Choice, Adapter] = {}
        self._lazy: dict[Choice, LazyAdapter] = {}
        self._beginning: asyncio.Task[Process] | None = None
        if logs is not None:
            self.telemetry.requests, self.telemetry.deliveries = logs.requests, logs.deliveries

    async def __aenter__(self) -> Self:
        try:
            export = exporter(self.telemetry, self._variables)
            if export is not None:
                await self.open(export)
            watching = asyncio.create_task(watch_clock(self.clock))
            self._closing.push_async_callback(_cancel, watching)
            await self.open(self._rail)
            await self.open(self._card_gateway)
            await self.open(self._bank)
            await self.open(self._outgoing)
        except BaseException:
            await self._closing.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._closing.aclose()

    def begin(self, refuse: Callable[[str], object]) -> None:
        """Do in the background what the start of `async with` does, for a process whose server does not await a start.

        `refuse` is called with the reason when it fails.
        """

        def begun(beginning: asyncio.Task[Process]) -> None:
            error = None if beginning.cancelled() else beginning.exception()
            if error is not None:
                refuse(str(error))

        self._beginning = asyncio.create_task(self.__aenter__())
        self._beginning.add_done_callback(begun)

    def close_by(self, loop_time: float) -> None:
        """Set the time of the running event loop by which everything must be closed."""
        self._close_by = loop_time

    async def open(self, adapter: A) -> A:
        """Open an adapter. It is closed at the end, before the adapters that were opened earlier. Raises NotOpened."""
        await adapter.__aenter__()
        self._closing.push_async_callback(self._close, adapter)
        return adapter

    async def _close(self, adapter: Adapter | LazyAdapter) -> None:
        if self._close_by is None:
            await adapter.aclose()
        else:
            left = self._close_by - asyncio.get_running_loop().time() - OTLP_CLOSE_SECONDS
            await adapter.aclose(max(left, _LEAST_CLOSE_SECONDS))

    async def open_ports(self, writer: WriterKind) -> Ports:
        """Open the adapter of each port. Raises NotOpened, which names the adapter that cannot be opened."""
        for choice in self._choices.values():
            await self._opened(choice, writer)
        return Ports(**{port: port_of(self._adapters[choice], port) for port, choice in self._choices.items()})

    async def open_embedded_store(self, writer: WriterKind) -> SqliteStore:
        """Return the embedded store, whose log the embedded broker reads. It is opened unless a port uses it
        already."""
        store = await self._opened(Choice(SQLITE, EMBEDDED), writer)
        return cast("SqliteStore", store)

    async def _opened(self, choice: Choice, writer: WriterKind) -> Adapter:
        if choice not in self._adapters:
            self._adapters[choice] = await self.open(make_adapter(choice, self._options(choice, writer)))
        return self._adapters[choice]

    def lazy_ports(self) -> Ports:
        """Return ports whose adapters open at their first use (see shared.bootstrap.lazy)."""
        choices = self._choices
        bus: Bus = LogBus() if choices["bus"] == choices["documents"] else LazyBus(self._lazily(choices["bus"]))
        return Ports(
            documents=LazyDocuments(self._lazily(choices["documents"])),
            ledger=LazyLedger(self._lazily(choices["ledger"])),
            nonces=LazyNonces(self._lazily(choices["nonces"])),
            cache=LazyCache(self._lazily(choices["cache"])),
            bus=bus,
            secrets=LazySecrets(self._lazily(choices["secrets"])),
            flags=self._lazy_flags(choices["flags"]),
            identity=LazyIdentity(self._lazily(choices["identity"])) if "identity" in choices else None,
            rate_limits=LazyRateLimits(self._lazily(choices["cache"])) if "rate_limits" in choices else None,
        )

    def _lazy_flags(self, choice: Choice) -> Flags:
        if choice.url:
            return LazyFlags(self._lazily(choice))
        # The file is read at the first use of a flag, without an opening.
        flags: Flags = port_of(make_adapter(choice, self._options(choice)), "flags")
        return flags

    def _lazily(self, choice: Choice) -> LazyAdapter:
        if choice not in self._lazy:

            def make(waits: bool) -> Adapter:
                options = self._options(choice, waits=waits)
                return make_adapter(choice, options._replace(cache=self._shared_cache(choice)))

            self._lazy[choice] = LazyAdapter(make, ", ".join(sorted(self._served(choice))))
            self._closing.push_async_callback(self._close, self._lazy[choice])
        return self._lazy[choice]

    def _shared_cache(self, user: Choice) -> Cache | None:
        """Return the cache on a server for another adapter to use, or None without one."""
        choice = self._choices["cache"]
        return LazyCache(self._lazily(choice)) if self.settings.cache and choice != user else None

    def _options(self, choice: Choice, writer: WriterKind = "thread", *, waits: bool = True) -> AdapterOptions:
        return AdapterOptions(
            choice.url,
            self._served(choice),
            self.settings,
            self.clock,
            _collections,
            writer,
            waits,
            self.telemetry.count,
        )

    def _served(self, choice: Choice) -> frozenset[str]:
        return frozenset(port for port, chosen in self._choices.items() if chosen == choice)

    async def trouble(self) -> str | None:
        """Return the first reason for which an adapter cannot serve now, or None. Opens adapters that are not open
        yet.

        A function that runs alone asks only the adapters of LASTRO_READY_PORTS: one that it does not use may be away
        or out of its reach.
        """
        for adapter in self._needed_adapters():
            reason = await adapter.trouble()
            if reason is not None:
                return reason
        return None

    def impairments(self) -> list[str]:
        """Return what does not work while every adapter can serve: an outage that is bridged for a time."""
        return [found for adapter in self._needed_adapters() if (found := adapter.impairment()) is not None]

    def _needed_adapters(self) -> list[Adapter | LazyAdapter]:
        needed = self._ready_ports
        lazy = (adapter for choice, adapter in self._lazy.items() if not needed or needed & self._served(choice))
        return [*self._adapters.values(), *lazy]

    def runtime_alone(self) -> Runtime:
        """Return the runtime of a function that runs alone, over adapters that open at their first use.

        The gateway before it knows no limits of tenants. Their own limits hold here, where processes can share counts.
        """
        runtime = self.runtime(self.lazy_ports())
        if runtime.rate_limits is not None:
            # Imported here, because a cold start without a shared cache does not need it.
            from shared.context.rate_limits import TenantRateLimit

            runtime.rate_gate = TenantRateLimit(runtime, "own", None)
        return runtime

    def runtime(
        self, ports: Ports, keys: KeySource | None = None, request_quiet: RequestQuiet | None = None
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
            documents=ports.documents,
            ledger=ports.ledger,
            cache=ports.cache,
            nonces=ports.nonces,
            bus=ports.bus,
            secrets=ports.secrets,
            flags=ports.flags,
            verifier=token_verifier(self.settings, self.clock, keys or ports.identity or StoredKeys(ports.secrets)),
            telemetry=self.telemetry,
            rate_limits=ports.rate_limits,
            rails={"pix": self._rail},
            card_gateway=self._card_gateway,
            payment_rails={
                "pix": self._rail.payments,
                "bank_transfer": self._bank,
                "card": self._card_gateway.captures,
            },
            clients=ports.identity,
            notifiers=self._notifiers,
            outgoing=self._outgoing,
            request_quiet=request_quiet,
        )


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


def pix_credentials(settings: Settings) -> Credentials:
    """Return how this process proves to the PIX provider who it is."""
    return Credentials(
        settings.pix_client_id,
        settings.pix_client_secret,
        settings.pix_token_url,
        settings.pix_certificate,
        settings.pix_authority,
    )


def bank_credentials(settings: Settings) -> Credentials:
    """Return how this process proves to the partner bank who it is."""
    return Credentials(
        settings.bank_client_id,
        settings.bank_client_secret,
        settings.bank_token_url,
        settings.bank_certificate,
        settings.bank_authority,
    )


def ready_ports(settings: Settings) -> frozenset[str]:
    """Return the ports of LASTRO_READY_PORTS; none means all. Raises InvalidSettings."""
    named = frozenset(name.strip() for name in settings.ready_ports.split(",") if name.strip())
    if unknown := sorted(named - OPENERS.keys()):
        raise InvalidSettings(f"LASTRO_READY_PORTS names {', '.join(unknown)}; the ports are {', '.join(OPENERS)}")
    return named


def issuer_url(settings: Settings) -> str:
    """Return the URL of the issuer of access tokens: the configured realm, or the local issuer."""
    return settings.identity or settings.base_url.rstrip("/") + REALM_PATH


def token_verifier(settings: Settings, clock: Clock, keys: KeySource) -> TokenVerifier:
    """Return a verifier of the issuer's tokens that uses these keys."""
    leeway = timedelta(seconds=settings.token_leeway_seconds)
    return TokenVerifier(issuer_url(settings), settings.audience, keys, clock, leeway)


def card_credentials(settings: Settings) -> Credentials:
    """Return how this process proves to the card gateway who it is."""
    return Credentials(settings.card_client_id, settings.card_client_secret, settings.card_token_url)
