"""A platform without servers and with a manual clock, for tests of the invariants.

Requests go through the whole pipeline, and events are routed by the manifests. But nothing is delivered by itself: each
delivery waits in a pool until the test makes it, in any order, several times or concurrently.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, Final

import orjson

from embedded.broker.delivery import PING_SOURCE_POLICY, Outcome, dead_letter
from embedded.broker.plan import ToService
from shared.adapters.memory.stores import (
    MemoryCache,
    MemoryDocuments,
    MemoryLedger,
    MemorySecrets,
)
from shared.adapters.pix.formats import format_amount
from shared.adapters.providers import callback_signature as provider_signature
from shared.adapters.sqlite.store import SqliteStore
from shared.bootstrap.process import Ports
from shared.context.runtime import Runtime
from shared.core.clock import ManualClock, format_time
from shared.core.envelope import Envelope
from shared.core.settings import Settings
from shared.http.messages import HttpRequest, HttpResponse
from shared.http.pipeline import serve
from shared.messaging.delivery import deliver
from shared.messaging.operation import EventOperation
from shared.ports.documents import Documents, Unavailable
from shared.ports.rail import (
    callback_secret_name,
)
from shared.records.catalogue import COLLECTIONS
from shared.records.deposits import DEPOSITS
from tests.hostile import (
    Die,
    HostileBus,
    HostileCache,
    HostileDocuments,
    HostileLedger,
    HostileRail,
    SeededDie,
    Servers,
)
from tests.invariants.deliveries import KeptBus, Pending, Pool, deliveries_of, http_operations, operations, the_plan
from tests.invariants.pix_provider import CALLBACK_SECRET, PixProvider
from tests.invariants.providers import Callback, Providers
from tests.invariants.runtimes import PLATFORM_TOKEN, Interleaved, runtime_of
from tests.invariants.tenant import MOST_ATTEMPTS, Answer, Tenant, answer_of
from tests.opening import open_adapter

_BEHIND_ALL_TIMES: Final = "9"


@dataclass(slots=True)
class World:
    """The platform under test. Create it with `World.in_memory`, `on_disk`, `hostile` or `on_documents`."""

    runtime: Runtime
    """The runtime with which a test reads. With a single process, it also processes requests and events."""
    clock: ManualClock
    pool: Pool
    rail: PixProvider
    processes: list[Runtime]
    """The runtimes that process requests and events; the seed chooses one each time."""
    chooser: Random
    outbox: Documents | None = None
    """Where several processes commit: commits may conflict, and their events may be left in the outbox."""
    servers: Servers | None = None
    """The hostile stores, or None."""
    store: SqliteStore | None = None
    numbers: count[int] = field(default_factory=lambda: count(1))
    paid: set[str] = field(default_factory=set)
    observers: list[Callable[[Pending], Awaitable[None]]] = field(default_factory=list)
    rails: Providers | None = None
    """The simulated providers of a world that was made by `with_rails`."""

    @classmethod
    async def in_memory(cls, seed: int = 0, *, interleaved: bool = False) -> World:
        """Create a platform on the stores in memory; with `interleaved`, each call of a port suspends, by the seed."""
        clock = ManualClock()
        documents, ledger, memory_cache = MemoryDocuments(COLLECTIONS), MemoryLedger(), MemoryCache(clock)
        return await cls._on(documents, ledger, memory_cache, clock, seed, interleaved=interleaved)

    @classmethod
    async def on_disk(cls, data_dir: Path, seed: int = 0, *, interleaved: bool = False) -> World:
        """Create a platform on the embedded store. The caller closes it."""
        clock = ManualClock()
        store = await open_adapter(
            SqliteStore(data_dir, collections=COLLECTIONS, settings=Settings(data_dir=str(data_dir)), clock=clock)
        )
        world = await cls._on(store.documents, store.ledger, MemoryCache(clock), clock, seed, interleaved=interleaved)
        world.store = store
        return world

    @classmethod
    async def hostile(cls, seed: int = 0, *, die: Die | None = None, processes: int = 2) -> World:
        """Create several processes, each with its own cache, on common hostile stores in memory."""
        servers, clock, pool, rail = Servers(die or SeededDie(seed)), ManualClock(), Pool(), PixProvider()
        turns, secrets = Random(seed + 1), MemorySecrets()
        await secrets.put(callback_secret_name("pix"), CALLBACK_SECRET)

        def process(number: int) -> Runtime:
            return runtime_of(
                clock,
                Random(seed * 1000 + number),
                Interleaved(HostileDocuments(servers), turns),
                Interleaved(HostileLedger(servers), turns),
                Interleaved(HostileCache(clock, servers.die), turns),
                bus=HostileBus(servers, pool.publish),
                secrets=secrets,
                rail=HostileRail(servers, rail),
            )

        reader = runtime_of(
            clock, Random(seed), servers.documents, servers.ledger, MemoryCache(clock), pool, secrets, rail
        )
        made = [process(number) for number in range(1, processes + 1)]
        return cls(reader, clock, pool, rail, made, Random(seed), servers.documents, servers)

    @classmethod
    async def with_rails(cls, seed: int = 0, *, die: Die | None = None) -> World:
        """Create a platform whose rails are the simulated providers: one process on stores in memory, or with `die`
        two processes on hostile stores and a hostile network to the providers."""
        world = await (cls.in_memory(seed, interleaved=True) if die is None else cls.hostile(seed, die=die))
        world.rails = Providers(world.clock, seed)
        await world.rails.store_secrets(world.runtime.secrets)
        for runtime in {id(each): each for each in (world.runtime, *world.processes)}.values():
            await world.rails.connect(runtime, None if runtime is world.runtime else world.servers)
        return world

    @classmethod
    async def on_documents(cls, documents: Sequence[Documents], seed: int = 0) -> World:
        """Create a process for each adapter of one documents store; they share a ledger and a bus in memory, and each
        has a cache of its own."""
        clock, pool, rail, ledger, secrets = ManualClock(), Pool(), PixProvider(), MemoryLedger(), MemorySecrets()
        await secrets.put(callback_secret_name("pix"), CALLBACK_SECRET)
        made = [
            runtime_of(
                clock,
                Random(seed * 1000 + number),
                each,
                ledger,
                MemoryCache(clock),
                bus=pool,
                secrets=secrets,
                rail=rail,
            )
            for number, each in enumerate(documents)
        ]
        return cls(made[0], clock, pool, rail, made, Random(seed), documents[0])

    @classmethod
    async def on_ports(cls, ports: Ports, clock: ManualClock) -> World:
        """Create one process on adapters that are open. Its events go to their bus, and into the pool for delivery."""
        pool, rail = Pool(), PixProvider()
        await ports.secrets.put(callback_secret_name("pix"), CALLBACK_SECRET)
        bus, random = KeptBus(ports.bus, pool), Random(1)
        made = runtime_of(clock, random, ports.documents, ports.ledger, ports.cache, bus, ports.secrets, rail)
        made.nonces = ports.nonces
        return cls(made, clock, pool, rail, [made], random, ports.documents)

    @classmethod
    async def _on(
        cls, documents: Any, ledger: Any, memory_cache: Any, clock: ManualClock, seed: int, *, interleaved: bool
    ) -> World:
        random, pool, rail, secrets = Random(seed), Pool(), PixProvider(), MemorySecrets()
        turns = Random(seed + 1)
        wrap = (lambda port: Interleaved(port, turns)) if interleaved else (lambda port: port)
        runtime = runtime_of(clock, random, wrap(documents), wrap(ledger), wrap(memory_cache), pool, secrets, rail)
        await secrets.put(callback_secret_name("pix"), CALLBACK_SECRET)
        return cls(runtime, clock, pool, rail, [runtime], Random(seed))

    async def close(self) -> None:
        """Close the store, if it is on disk."""
        if self.store is not None:
            await self.store.aclose()

    async def tenant(self, id: str = "tenant-a") -> Tenant:
        """Create a tenant."""
        number = next(self.numbers)
        headers = {
            "authorization": f"Bearer {PLATFORM_TOKEN}",
            "content-type": "application/json",
            "idempotency-key": f"key-{number}",
        }
        body = orjson.dumps({"id": id, "name": id})
        answer = await self._persistent(HttpRequest("POST", "/v1/tenants", "", headers, body))
        assert answer.status == 201, answer.body
        key = answer.body["signing_key"]
        return Tenant(self, id, key["key_id"], key["secret"])

    async def request(self, request: HttpRequest) -> Answer:
        """Send a request to the operation with its method and path."""
        for operation in http_operations():
            if operation.method == request.method and operation.pattern.fullmatch(request.path):
                return answer_of(await serve(operation, request, self.process()))
        raise AssertionError(f"there is no {request.method} {request.path}")

    async def _persistent(self, request: HttpRequest) -> Answer:
        """Send a request without a signature, and repeat it while the response asks for that."""
        answer = await self.request(request)
        for _ in range(0 if self.outbox is None else MOST_ATTEMPTS):
            if answer.status != 503 and answer.code != "request_in_progress":
                break
            answer = await self.request(request)
        return answer

    def process(self) -> Runtime:
        """Return one of the processes."""
        return self.chooser.choice(self.processes)

    async def forget(self) -> None:
        """Clear every cache."""
        for process in self.processes:
            await process.cache.clear()

    # Events

    async def deliver(self, pending: Pending) -> None:
        """Deliver once. A delivery that is refused temporarily goes back into the pool; one that is refused finally
        is parked."""
        outcome = await deliver(pending.consumer, pending.envelope, self.process())
        if outcome.status == 204:
            for observer in self.observers:
                await observer(pending)
        elif outcome.status in (409, 429, 500, 503):
            pending.attempts += 1
            assert pending.attempts < MOST_ATTEMPTS, f"{pending.consumer.id} never takes {pending.envelope.type}"
            self.pool.pending.append(pending)
        else:
            await self._park(pending, outcome.status, outcome.headers)

    async def _park(self, pending: Pending, status: int, headers: Mapping[str, str]) -> None:
        sink = pending.subscription.dead_letter
        assert isinstance(sink, ToService)
        consumer = operations()[sink.name]
        assert isinstance(consumer, EventOperation)
        answer = HttpResponse(status, dict(headers), b"")
        letter = dead_letter(pending.envelope, pending.subscription.target.url, Outcome.DEAD, answer)
        await self._deliver_at_last(consumer, letter)

    async def _deliver_at_last(self, consumer: EventOperation, envelope: Envelope) -> None:
        """Deliver an event until it is accepted, on hostile stores; on others the first delivery must be accepted."""
        status = None
        for _ in range(1 if self.outbox is None else MOST_ATTEMPTS):
            status = (await deliver(consumer, envelope, self.process())).status
            if status == 204:
                return
        raise Unavailable(f"{consumer.id} answered {status}")

    async def settle(self) -> None:
        """Deliver all pending deliveries and those that follow, in order, until none is left."""
        while self.pool.pending or await self.publish_outbox():
            await self.deliver(self.pool.pending.pop(0))

    async def publish_outbox(self) -> bool:
        """Publish the events in the outbox that no process has published, and return whether there were any."""
        if self.outbox is None:
            return False
        if self.servers is not None:
            await self.servers.arrived()
        while await self.outbox.unsent(_BEHIND_ALL_TIMES, 1):
            self.later(milliseconds=1)
            await self.tick("operations-sweep-outbox")
        return bool(self.pool.pending)

    async def settle_in_any_order(
        self, random: Random, *, times: int = 2, forgetful: bool = True, abreast: int = 1
    ) -> None:
        """Deliver everything `times` times in any order, `abreast` concurrently, until nothing is left.

        With `forgetful`, the cache loses values, locks and deadlines between every two deliveries.
        """
        while self.pool.pending or await self.publish_outbox():
            batch = []
            for _ in range(min(len(self.pool.pending), random.randint(1, abreast))):
                pending = self.pool.pending.pop(random.randrange(len(self.pool.pending)))
                batch.append(pending)
                if not pending.copied:
                    pending.copied = True
                    self._insert_copies(pending, times - 1, random)
            if forgetful:
                await self.forget()
            await asyncio.gather(*(self.deliver(pending) for pending in batch))

    def _insert_copies(self, pending: Pending, number: int, random: Random) -> None:
        for _ in range(number):
            again = Pending(pending.subscription, pending.envelope, pending.consumer, copied=True)
            self.pool.pending.insert(random.randint(0, len(self.pool.pending)), again)

    async def replay(self, envelopes: Iterable[Envelope]) -> None:
        """Deliver events again to all their consumers."""
        for envelope in envelopes:
            for pending in deliveries_of(envelope):
                await self.deliver(pending)

    async def pay_charges(self, *, times: int = 1) -> None:
        """Pay every requested charge; the rail reports each payment `times` times. Simulated providers have paid the
        charges of deposits: their callbacks are delivered."""
        if self.rails is not None:
            await self.rails.quiet()
            callbacks, self.rails.callbacks[:] = list(self.rails.callbacks), []
            for callback in callbacks * times:
                await self.call_back(callback)
            return
        for reference in [reference for reference in self.rail.charges if reference not in self.paid]:
            self.paid.add(reference)
            for _ in range(times):
                await self.report(reference, self.rail.charges[reference])

    async def report(self, reference: str, amount: int, *, end_to_end_id: str | None = None) -> None:
        """Report a payment of a charge, as the rail does."""
        paid = {
            "endToEndId": end_to_end_id or f"E{reference[:31]}",
            "txid": reference,
            "valor": format_amount(amount),
            "horario": format_time(self.clock.now()),
        }
        body = orjson.dumps({"pix": [paid]})
        headers = provider_signature.sign(CALLBACK_SECRET, body, self.clock.now())
        headers["content-type"] = "application/json"
        answer = await self._persistent(HttpRequest("POST", "/v1/providers/pix/callbacks", "", headers, body))
        assert answer.status == 200, answer.body

    @property
    def providers(self) -> Providers:
        """The simulated providers. Only a world that was made by `with_rails` has them."""
        assert self.rails is not None
        return self.rails

    async def call_back(self, callback: Callback) -> None:
        """Deliver a callback once. One that the platform asks to be sent again goes back into the pool."""
        headers = provider_signature.sign(CALLBACK_SECRET, callback.body, self.clock.now())
        headers["content-type"] = "application/json"
        answer = await self._persistent(HttpRequest("POST", callback.path, "", headers, callback.body))
        if answer.status == 503:
            self.providers.callbacks.append(callback)
        else:
            assert answer.status == 200, answer.body

    async def report_fraud(
        self, deposit_id: str, amount: int, id: str, tenant_id: str, *, status: str = "OPEN"
    ) -> None:
        """Report the payment of a deposit as a fraud, or withdraw that, as the rail does."""
        deposit = await self.runtime.documents.get(DEPOSITS, tenant_id, deposit_id)
        assert deposit is not None
        report = {
            "id": id,
            "endToEndId": deposit["end_to_end_id"],
            "txid": deposit["txid"],
            "valor": format_amount(amount),
            "status": status,
        }
        body = orjson.dumps({"infractionReports": [report]})
        headers = provider_signature.sign(CALLBACK_SECRET, body, self.clock.now())
        headers["content-type"] = "application/json"
        answer = await self._persistent(HttpRequest("POST", "/v1/providers/pix/callbacks/med", "", headers, body))
        assert answer.status == 200, answer.body

    async def tick(self, schedule: str) -> None:
        """Deliver a tick of the PingSource with this name."""
        source, subscription = the_plan().pings[schedule]
        assert isinstance(subscription.target, ToService)
        assert subscription.policy is PING_SOURCE_POLICY
        consumer = operations()[subscription.target.name]
        assert isinstance(consumer, EventOperation)
        envelope = Envelope(
            id=f"tick-{next(self.numbers)}",
            source=f"/apis/v1/namespaces/lastro/pingsources/{source.name}",
            type="dev.knative.sources.ping",
            subject=None,
            time=format_time(self.clock.now()),
            extensions={},
            data=b'{"schedule": "now"}',
            repeated=True,
        )
        await self._deliver_at_last(consumer, envelope)

    def later(self, **step: float) -> None:
        """Move the clock forwards; the arguments are those of timedelta."""
        self.clock.advance(timedelta(**step))
