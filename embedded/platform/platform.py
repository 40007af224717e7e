"""The embedded platform: every part of a cluster that the functions need, in one process, connected by the
manifests."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Self

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
from embedded.identity.first_start import StoredClients, prepare, prepare_with_realm
from embedded.identity.issuer import Issuer, KeyRing, token_url
from embedded.manifests.loading import Manifests, load
from embedded.platform.inspection import Inspection
from embedded.simulators.notifiers import add_notifiers
from embedded.simulators.rails import add_rails
from shared.adapters.sqlite.documents import SqliteDocuments
from shared.adapters.sqlite.store import SqliteStore
from shared.bootstrap.process import Ports, Process, issuer_url
from shared.bootstrap.starting import check_files
from shared.context.runtime import Runtime
from shared.core.clock import Clock
from shared.core.envelope import Envelope
from shared.core.settings import InvalidSettings, Settings
from shared.functions.process import install
from shared.messaging.operation import Unwanted
from shared.telemetry.logs import Logs

if TYPE_CHECKING:
    from embedded.broker.kafka_log import KafkaLog
    from shared.adapters.keycloak.realm import KeycloakRealm

log = logging.getLogger(__name__)
ROOT: Final = Path(__file__).resolve().parents[2]
DRAIN_SECONDS: Final = 2.0
STOP_SECONDS: Final = 5.0
"""The longest time that stopping may take after the last requests are answered, in seconds."""
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
    logs: Logs | None = None
    """The logging of the process, or None when it is not set up."""


@dataclass(slots=True)
class Platform:
    """A running platform. `gateway` answers its requests."""

    process: Process
    settings: Settings
    clock: Clock
    plan: Plan
    store: SqliteStore
    runtime: Runtime
    broker: Broker
    functions: Functions
    schedules: Schedules
    issuer: Issuer | None
    """None when LASTRO_IDENTITY names the issuer."""
    gateway: Gateway
    paths: PlatformPaths
    state: _State
    closing: AsyncExitStack
    log_on_kafka: KafkaLog | None
    """The log of events when LASTRO_BUS is set; otherwise the log is in `store`."""
    realm: KeycloakRealm | None
    """The realm of LASTRO_IDENTITY, or None."""
    credentials: Credentials = field(init=False)

    @classmethod
    async def start(cls, settings: Settings, options: Options | None = None, clock: Clock | None = None) -> Self:
        """Start a platform on the running event loop. It answers requests when this returns.

        Raises ManifestError, NotOpened, BadCredentials, or ValueError for a setting that this version does not support.
        """
        check_files(settings)
        options = options or Options()
        manifests = load(options.root)
        plan = make_plan(manifests)
        async with AsyncExitStack() as stack:
            process = await stack.enter_async_context(Process(settings, clock, options.logs))
            ports = await process.open_ports(options.writer)
            store = await process.open_embedded_store(options.writer)
            platform = await cls._assemble(process, options, manifests, plan, ports, store, stack)
            await platform.begin(manifests, options)
            platform.closing = stack.pop_all()
        return platform

    @classmethod
    async def _assemble(
        cls,
        process: Process,
        options: Options,
        manifests: Manifests,
        plan: Plan,
        ports: Ports,
        store: SqliteStore,
        stack: AsyncExitStack,
    ) -> Self:
        settings, clock = process.settings, process.clock
        ring = None if settings.identity else await KeyRing.load(ports.secrets)
        invokers = _Invokers()
        log_on_kafka = _log_on_kafka(plan, ports, settings)
        broker = _broker(plan, store, log_on_kafka, clock, invokers)
        functions = Functions(manifests.services, clock, broker.timers)
        # Events on Kafka may be delivered by another process, so this broker does not know what is in progress.
        quiet = broker.quiet if log_on_kafka is None else None
        runtime = process.runtime(ports, None if ring is None else ring.source, quiet)
        issuer = None if ring is None else _issuer(ring, runtime)
        router, upstreams = upstreams_of(manifests, runtime)
        state = _State(process, log_on_kafka)
        realm = _realm(ports)
        inspection = Inspection(
            runtime,
            store,
            broker,
            functions,
            plan,
            upstreams,
            state,
            token_url=token_url(settings.base_url) if realm is None else realm.token_url,
            log_on_kafka=log_on_kafka,
        )
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
        rails = await add_rails(runtime, gateway, stack)
        paths.simulators = {**rails, **add_notifiers(runtime, gateway, paths.require_operator, stack)}
        schedules = Schedules(plan, clock, broker.timers, runtime.ids, broker.send)
        return cls(
            process,
            settings,
            clock,
            plan,
            store,
            runtime,
            broker,
            functions,
            schedules,
            issuer,
            gateway,
            paths,
            state,
            stack,
            log_on_kafka,
            realm,
        )

    async def begin(self, manifests: Manifests, options: Options) -> None:
        """Continue the work of an earlier process and start to accept new work. Called by `start`."""
        stack = self.closing
        install(self.runtime)
        stack.callback(install, None)
        self.functions.check(self.plan, manifests)
        if self.runtime.documents is self.store.documents:
            # The store answers from memory, so a test costs less than a delivery that does nothing.
            self.broker.unwanted = {
                consumer: partial(_is_unwanted, test, self.store.documents)
                for consumer, test in self.functions.unwanted().items()
            }
        self.functions.start()
        stack.callback(self.functions.stop)
        if self.log_on_kafka is not None:
            stack.push_async_callback(self.log_on_kafka.aclose)
        stack.push_async_callback(self.broker.stop, DRAIN_SECONDS)
        await self.broker.start()
        if self.log_on_kafka is not None:
            await self.log_on_kafka.__aenter__()
        for simulator in self.paths.simulators.values():
            simulator.start()
        stack.push_async_callback(self.schedules.stop)
        self.schedules.start()
        if self.issuer is None:
            assert self.realm is not None
            send = self.gateway.handle
            self.credentials = await prepare_with_realm(self.runtime, self.realm, send, demo=options.demo)
        else:
            self.credentials = await prepare(self.runtime, self.issuer, self.gateway.handle, demo=options.demo)
        self.state.value = None
        log.info("the platform answers at %s", self.settings.base_url)
        stack.callback(self.state.stop)

    async def stop(self, seconds: float = STOP_SECONDS) -> None:
        """Wait for work in progress and close everything, within this number of seconds. The rest stays in the log.

        Raises NotWritten if a committed change is not on disk.
        """
        self.process.close_by(asyncio.get_running_loop().time() + seconds)
        await self.closing.aclose()


def _is_unwanted(test: Unwanted, documents: SqliteDocuments, envelope: Envelope) -> bool:
    return test(envelope, documents.read)


class _State:
    """The reason why the platform cannot serve now."""

    def __init__(self, process: Process, log_on_kafka: KafkaLog | None) -> None:
        self._process = process
        self._log_on_kafka = log_on_kafka
        self.value: str | None = "The platform is starting."

    async def reason(self) -> str | None:
        if self.value is not None:
            return self.value
        trouble = await self._process.trouble()
        if trouble is None and self._log_on_kafka is not None:
            trouble = await self._log_on_kafka.trouble()
        return None if trouble is None else f"{trouble[0].upper()}{trouble[1:]}."

    def impairments(self) -> list[str]:
        """Return what does not work while the platform can serve."""
        return self._process.impairments()

    def stop(self) -> None:
        self.value = "The platform is stopping."


def _realm(ports: Ports) -> KeycloakRealm | None:
    """Return the realm of LASTRO_IDENTITY, or None without the setting."""
    if ports.identity is None:
        return None
    from shared.adapters.keycloak.realm import KeycloakRealm

    assert isinstance(ports.identity, KeycloakRealm), "LASTRO_IDENTITY selects this adapter"
    return ports.identity


def _log_on_kafka(plan: Plan, ports: Ports, settings: Settings) -> KafkaLog | None:
    """Return the log of LASTRO_BUS, not yet open, or None without the setting."""
    if not settings.bus:
        return None
    from embedded.broker.kafka_log import KafkaLog
    from shared.adapters.kafka.bus import KafkaBus

    if not isinstance(ports.bus, KafkaBus):
        raise InvalidSettings("LASTRO_BUS: `up` delivers events from Kafka, or from its own log without the setting")
    return KafkaLog(plan, ports.bus, settings)


def _broker(plan: Plan, store: SqliteStore, on_kafka: KafkaLog | None, clock: Clock, invokers: _Invokers) -> Broker:
    """Return the broker that delivers the events of Kafka, or those of the store's log."""
    if on_kafka is None:
        return Broker(plan, store, clock, invokers.invoke)
    broker = Broker(plan, on_kafka, clock, invokers.invoke, on_kafka.limits)
    on_kafka.broker = broker
    return broker


def _issuer(ring: KeyRing, runtime: Runtime) -> Issuer:
    """Return the platform's own issuer of tokens."""
    settings = runtime.settings
    return Issuer(issuer_url(settings), ring, StoredClients(runtime), runtime.clock, audience=settings.audience)


class _Invokers:
    """Passes calls on to the invoker, which is made after the broker."""

    chosen: DirectInvoker | FrameworkInvoker

    def invoke(self, service: str, envelope: Envelope, first: bool) -> Coroutine[Any, Any, Answer]:
        return self.chosen.invoke(service, envelope, first)


def settle_memory() -> None:
    """Exclude all present objects from garbage collection, and collect less often.

    This increases throughput by a quarter: otherwise each collection would traverse the loaded modules and the
    documents in memory.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GENERATION_0, 20, 100)
