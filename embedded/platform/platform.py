"""The embedded platform: every part of a cluster that the functions need, in one process, wired by the manifests."""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Coroutine, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any, Final, Literal, Self

from embedded.broker.broker import Broker
from embedded.broker.delivery import Answer
from embedded.broker.plan import Plan, make_plan
from embedded.broker.schedules import Schedules
from embedded.functions.invocation import DirectInvoker, FrameworkInvoker
from embedded.functions.scaling import Functions
from embedded.gateway.gateway import Gateway
from embedded.gateway.own_paths import PlatformPaths
from embedded.gateway.upstreams import upstreams_of
from embedded.identity.credentials import Credentials
from embedded.identity.first_start import StoredClients, prepare
from embedded.identity.issuer import REALM_PATH, Issuer, KeyRing
from embedded.manifests.loading import Manifests, load
from embedded.platform.inspection import Inspection
from embedded.simulators.rails import add_rails
from shared.adapters.files.keyfile import KeyFileSecrets
from shared.adapters.files.yaml_flags import FLAGS_FILE, YamlFlags
from shared.adapters.otlp.export import connect
from shared.adapters.sqlite.log_bus import LogBus
from shared.adapters.sqlite.store import SqliteStore
from shared.bootstrap.assembly import refuse_unknown_servers
from shared.context.runtime import Runtime
from shared.core.clock import Clock, SystemClock
from shared.core.envelope import Envelope
from shared.core.randomness import BufferedSystemRandom, SystemSecretSource
from shared.core.settings import Settings
from shared.functions.process import install
from shared.identity.tokens import TokenVerifier
from shared.records.catalogue import COLLECTIONS
from shared.telemetry.recorder import Telemetry

log = logging.getLogger(__name__)
ROOT: Final = Path(__file__).resolve().parents[2]
DRAIN_SECONDS: Final = 3.0
_GENERATION_0: Final = 50_000


@dataclass(frozen=True, slots=True)
class Options:
    """Options of a start, beside the settings."""

    demo: bool = True
    """Whether the first start creates the demo tenant."""
    faithful: bool = False
    """Whether functions are called through the framework's application, as in their containers."""
    writer: Literal["thread", "process"] = "process"
    root: Path = ROOT
    """The folder with the manifests and the functions."""
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    """The environment from which OpenTelemetry's own variables are read."""


@dataclass(slots=True)
class Platform:
    """A running platform. `gateway` answers its requests."""

    settings: Settings
    clock: Clock
    plan: Plan
    store: SqliteStore
    runtime: Runtime
    broker: Broker
    functions: Functions
    schedules: Schedules
    issuer: Issuer
    gateway: Gateway
    paths: PlatformPaths
    state: _State
    closing: AsyncExitStack
    credentials: Credentials = field(init=False)

    @classmethod
    async def start(cls, settings: Settings, options: Options | None = None, clock: Clock | None = None) -> Self:
        """Start a platform on the running event loop. It answers requests when this returns.

        Raises ManifestError, DataDirectoryInUse, SchemaTooNew, WriterFailed, BadCredentials, or ValueError for a
        setting that this version cannot honour.
        """
        refuse_unknown_servers(settings)
        options, clock = options or Options(), clock or SystemClock()
        manifests = load(options.root)
        plan = make_plan(manifests)
        async with AsyncExitStack() as stack:
            store = await SqliteStore.open(
                settings.data_path, collections=COLLECTIONS, settings=settings, clock=clock, writer=options.writer
            )
            stack.push_async_callback(store.close)
            platform = await cls._assemble(settings, options, clock, manifests, plan, store, stack)
            await platform.begin(manifests, options)
            platform.closing = stack.pop_all()
        return platform

    @classmethod
    async def _assemble(
        cls,
        settings: Settings,
        options: Options,
        clock: Clock,
        manifests: Manifests,
        plan: Plan,
        store: SqliteStore,
        stack: AsyncExitStack,
    ) -> Self:
        vault = KeyFileSecrets(settings.data_path)
        keys = await KeyRing.load(vault)
        invokers = _Invokers()
        broker = Broker(plan, store, clock, invokers.invoke)
        functions = Functions(manifests.services, clock, broker.timers)
        issuer_url = settings.base_url.rstrip("/") + REALM_PATH
        runtime = _runtime(settings, options, clock, store, broker, vault, keys, stack)
        issuer = Issuer(issuer_url, keys, StoredClients(runtime), clock, audience=settings.audience)
        router, upstreams = upstreams_of(manifests, max_body_bytes=settings.max_body_bytes, seconds=clock.monotonic)
        state = _State()
        inspection = Inspection(runtime, store, broker, functions, plan, upstreams, state.reason)
        invokers.chosen = (
            FrameworkInvoker(functions, manifests.services, options.root)
            if options.faithful
            else DirectInvoker(functions, runtime)
        )
        paths = PlatformPaths(runtime, inspection, issuer)
        gateway = Gateway(
            runtime,
            router,
            upstreams,
            invokers.chosen.serve,
            paths,
            broker.admit,
            limits_here=options.faithful,
        )
        paths.simulators = await add_rails(runtime, gateway, stack)
        schedules = Schedules(plan, clock, broker.timers, runtime.ids, broker.send)
        return cls(
            settings, clock, plan, store, runtime, broker, functions, schedules, issuer, gateway, paths, state, stack
        )

    async def begin(self, manifests: Manifests, options: Options) -> None:
        """Continue the work of an earlier process and start to accept new work. Called by `start`."""
        stack = self.closing
        install(self.runtime)
        stack.callback(install, None)
        self.functions.check(self.plan, manifests)
        self.functions.start()
        stack.callback(self.functions.stop)
        stack.push_async_callback(self.broker.stop, DRAIN_SECONDS)
        await self.broker.start()
        for simulator in self.paths.simulators.values():
            simulator.start()
        stack.push_async_callback(self.schedules.stop)
        self.schedules.start()
        self.credentials = await prepare(self.runtime, self.issuer, self.gateway.handle, demo=options.demo)
        self.state.value = None
        stack.callback(self.state.stop)

    async def stop(self) -> None:
        """Wait for work in progress, within a bound, and close everything. The rest stays in the log."""
        await self.closing.aclose()


class _State:
    """Why the platform cannot serve now."""

    def __init__(self) -> None:
        self.value: str | None = "The platform is starting."

    def reason(self) -> str | None:
        return self.value

    def stop(self) -> None:
        self.value = "The platform is stopping."


class _Invokers:
    """Passes calls on to the invoker, which is made after the broker."""

    chosen: DirectInvoker | FrameworkInvoker

    def invoke(self, service: str, envelope: Envelope, first: bool) -> Coroutine[Any, Any, Answer]:
        return self.chosen.invoke(service, envelope, first)


def _runtime(
    settings: Settings,
    options: Options,
    clock: Clock,
    store: SqliteStore,
    broker: Broker,
    vault: KeyFileSecrets,
    keys: KeyRing,
    stack: AsyncExitStack,
) -> Runtime:
    telemetry = Telemetry(Random(), settings.trace_ratio)  # noqa: S311 - trace ids
    link = connect(telemetry, options.environment)
    if link is not None:
        stack.callback(link.close)
    issuer_url = settings.base_url.rstrip("/") + REALM_PATH
    leeway = timedelta(seconds=settings.token_leeway_seconds)
    return Runtime(
        settings=settings,
        clock=clock,
        random=BufferedSystemRandom(),
        secret_source=SystemSecretSource(),
        documents=store.documents,
        ledger=store.ledger,
        cache=store.cache,
        nonces=store.nonces,
        bus=LogBus(),
        secrets=vault,
        flags=YamlFlags(settings.data_path / FLAGS_FILE),
        verifier=TokenVerifier(issuer_url, settings.audience, keys.source, clock, leeway),
        telemetry=telemetry,
        request_quiet=broker.quiet,
    )


def settle_memory() -> None:
    """Exclude all present objects from garbage collection, and collect less often.

    This gains a quarter of the throughput: each collection would visit the loaded modules and the documents in memory.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GENERATION_0, 20, 100)
