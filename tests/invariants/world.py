"""A platform without servers and with a manual clock, for tests of the invariants.

Requests go through the whole pipeline, and events are routed by the manifests. But nothing is delivered by itself: each
delivery waits in a pool until the test makes it, in any order, several times or concurrently.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from inspect import iscoroutinefunction
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, Final, cast

import orjson

from embedded.broker.delivery import PING_SOURCE_POLICY, Outcome, dead_letter
from embedded.broker.plan import Plan, Subscription, ToService, make_plan
from embedded.manifests.loading import load
from shared.adapters.memory.stores import (
    MemoryCache,
    MemoryDocuments,
    MemoryFlags,
    MemoryLedger,
    MemoryNonces,
    MemorySecrets,
)
from shared.adapters.pix.br_code import dynamic_code
from shared.adapters.pix.formats import format_amount
from shared.adapters.pix.rail import PixHttpRail
from shared.adapters.providers import callback_signature as provider_signature
from shared.adapters.sqlite.store import SqliteStore
from shared.bootstrap.process import Ports
from shared.context.runtime import Runtime
from shared.core.clock import ManualClock, format_time
from shared.core.envelope import Envelope
from shared.core.settings import Settings
from shared.functions.decorators import operation_of
from shared.functions.operation import Operation
from shared.http import signing
from shared.http.messages import HttpRequest, HttpResponse
from shared.http.operation import HttpOperation
from shared.http.pipeline import serve
from shared.identity.tenancy import PLATFORM_SCOPE, TENANT_SCOPES
from shared.identity.tokens import Caller
from shared.messaging.delivery import deliver
from shared.messaging.operation import EventOperation
from shared.ports.bus import Bus
from shared.ports.documents import Documents, Unavailable
from shared.ports.outgoing import OutgoingAnswer, OutgoingDocument
from shared.ports.rail import (
    CHARGE_OVER,
    ChargeOrder,
    ChargeRevision,
    PayableCharge,
    RailRefused,
    ReturnOrder,
    ReturnState,
    callback_secret_name,
)
from shared.records.catalogue import COLLECTIONS
from shared.records.deposits import DEPOSITS
from shared.telemetry.recorder import Telemetry
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
from tests.opening import open_adapter
from tests.predictable import PredictableSecretSource

ROOT: Final = Path(__file__).resolve().parents[2]
_PLATFORM_TOKEN: Final = "platform"
_CALLBACK_SECRET: Final = b"the rail's and ours"
_BEHIND_ALL_TIMES: Final = "9"
_MOST_ATTEMPTS: Final = 60
"""The number of times that a delivery may be refused temporarily before the test fails."""


@cache
def the_plan() -> Plan:
    """The wiring of the repository."""
    return make_plan(load(ROOT))


@cache
def operations() -> dict[str, Operation]:
    """Return every deployed function, by the name of its Service."""
    found: dict[str, Operation] = {}
    for name, service in the_plan().services.items():
        operation = operation_of(getattr(importlib.import_module(service.module), service.target))
        assert operation is not None, name
        found[name] = operation
    return found


def http_operations() -> list[HttpOperation]:
    """Every operation behind a path."""
    return [operation for operation in operations().values() if isinstance(operation, HttpOperation)]


@dataclass(slots=True)
class Answer:
    """The response to a request."""

    status: int
    body: Any
    headers: dict[str, str]
    raw: bytes

    @property
    def code(self) -> str | None:
        """The problem's code."""
        return self.body.get("code") if isinstance(self.body, dict) else None


@dataclass(slots=True, eq=False)
class Pending:
    """A delivery in the pool."""

    subscription: Subscription
    envelope: Envelope
    consumer: EventOperation
    attempts: int = 0
    copied: bool = False


class _Verifier:
    """Accepts a tenant's id as a token with every scope. The verification of tokens has its own tests."""

    async def verify(self, token: str) -> Caller:
        if token == _PLATFORM_TOKEN:
            return Caller("platform", "platform", None, frozenset({PLATFORM_SCOPE}))
        return Caller(token, token, token, frozenset(TENANT_SCOPES))


class _Pool:
    """The bus. A published event becomes one delivery for each consumer."""

    reads_the_outbox = False

    def __init__(self) -> None:
        self.pending: list[Pending] = []
        self.published: list[Envelope] = []

    async def publish(self, events: Iterable[Envelope]) -> None:
        for envelope in events:
            self.published.append(envelope)
            self.pending += deliveries_of(envelope)

    async def progress(self, correlation_id: str, timeout_seconds: float) -> bool:
        return True


class _KeptBus:
    """A bus whose events also go into the pool."""

    reads_the_outbox = False

    def __init__(self, bus: Bus, pool: _Pool) -> None:
        self._bus = bus
        self._pool = pool

    async def publish(self, events: Sequence[Envelope]) -> None:
        await self._bus.publish(events)
        await self._pool.publish(events)


class _Rail(PixHttpRail):
    """A PIX provider that accepts every charge; the test decides which are paid."""

    def __init__(self) -> None:
        super().__init__("")
        self.charges: dict[str, int] = {}
        self.over: dict[str, str] = {}
        """The charges that are `paid` or `removed`."""
        self.returns: dict[str, ReturnOrder] = {}
        self.refused_returns: set[str] = set()
        self.decisions: dict[str, bool] = {}
        """The decisions on reports of fraud."""

    async def request_charge(self, reference: str, amount: int, currency: str, callback_url: str) -> None:
        assert self.charges.setdefault(reference, amount) == amount

    async def create_charge(self, order: ChargeOrder) -> PayableCharge:
        assert self.charges.setdefault(order.reference, order.amount) == order.amount
        location = f"pix.example.test/qr/{order.reference[:22]}"
        return PayableCharge(dynamic_code(location, "Lastro", "SAO PAULO"), location, {})

    async def revise_charge(self, revision: ChargeRevision) -> None:
        if revision.reference in self.over:
            raise RailRefused(CHARGE_OVER, "The charge is over.")
        if revision.amount is not None:
            self.charges[revision.reference] = revision.amount

    async def request_return(self, order: ReturnOrder) -> ReturnState:
        first = self.returns.setdefault(order.reference, order)
        assert first == order, "a return is requested twice with different contents"
        return ReturnState(order.reference, "processing", None, order.amount, None)

    async def return_state(self, payment_id: str, reference: str) -> ReturnState | None:
        order = self.returns.get(reference)
        if order is None:
            return None
        is_refused = reference in self.refused_returns
        return ReturnState(reference, "refused" if is_refused else "returned", f"D{reference[:31]}", order.amount, None)

    async def answer_fraud_report(self, report_id: str, is_accepted: bool, reason: str | None) -> None:
        del reason
        assert self.decisions.setdefault(report_id, is_accepted) == is_accepted, "two decisions on one report"

    async def remove_charge(self, reference: str, *, is_due: bool = False) -> None:
        if self.over.setdefault(reference, "removed") == "paid":
            raise RailRefused(CHARGE_OVER, "The charge is paid.")


def deliveries_of(envelope: Envelope) -> list[Pending]:
    """Return the deliveries of an event according to the manifests."""
    found = []
    for route in the_plan().routes(envelope):
        if route.rest is None or route.rest(envelope):
            assert isinstance(route.subscription.target, ToService)
            consumer = operations()[route.subscription.target.name]
            assert isinstance(consumer, EventOperation)
            found.append(Pending(route.subscription, envelope, consumer))
    return found


class _Interleaved:
    """A port whose every call suspends a random number of times, by a seed."""

    def __init__(self, port: Any, random: Random) -> None:
        self._port = port
        self._random = random

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._port, name)
        if not iscoroutinefunction(attribute):
            return attribute

        async def call(*arguments: Any, **named: Any) -> Any:
            await self._turns()
            result = await attribute(*arguments, **named)
            await self._turns()
            return result

        return call

    async def _turns(self) -> None:
        for _ in range(self._random.randrange(3)):
            await asyncio.sleep(0)


@dataclass(slots=True)
class Tenant:
    """A tenant and its signing key."""

    world: World
    id: str
    key_id: str
    secret: str

    async def call(
        self, method: str, path: str, body: Any = None, *, key: str | None = None, query: str = ""
    ) -> Answer:
        """Send a signed request; a POST without `key` gets a new key."""
        content = b"" if body is None else orjson.dumps(body)
        headers = {"authorization": f"Bearer {self.id}"}
        if method != "GET":
            headers["content-type"] = "application/json"
            headers["idempotency-key"] = key or f"key-{next(self.world.numbers)}"
        answer = await self.world.request(self.signed(method, path, query, headers, content))
        for _ in range(_MOST_ATTEMPTS if self.world.outbox is not None else 0):
            if answer.status != 503 and answer.code != "request_in_progress":
                break
            await asyncio.sleep(0)
            answer = await self.world.request(self.signed(method, path, query, headers, content))
        return answer

    def signed(self, method: str, path: str, query: str, headers: dict[str, str], content: bytes) -> HttpRequest:
        """Return the request with a new signature, so that a command can be repeated under its key."""
        signed = dict(headers)
        if method != "GET":
            # The timestamp has digits beyond the microsecond, so that no two signatures are equal.
            timestamp = f"{format_time(self.world.clock.now())[:-1]}{next(self.world.numbers):09d}Z"
            canonical = signing.canonical_string(
                method, path, query, content, self.id, headers["idempotency-key"], timestamp, self.key_id
            )
            signed |= {"x-timestamp": timestamp, "x-key-id": self.key_id}
            signed["x-signature"] = signing.sign(self.secret, canonical)
        return HttpRequest(method, path, query, signed, content)

    async def get(self, path: str, query: str = "") -> Any:
        """Send a GET, which must succeed, and return its body."""
        answer = await self.call("GET", path, query=query)
        assert answer.status == 200, answer.body
        return answer.body

    async def listed(self, path: str, query: str = "") -> list[Any]:
        """Return all items of a list, page by page."""
        found: list[Any] = []
        page = await self.get(path, f"limit=100&{query}" if query else "limit=100")
        while True:
            found += page["data"]
            if page["next_cursor"] is None:
                return found
            page = await self.get(path, f"limit=100&cursor={page['next_cursor']}")

    async def made(self, path: str, body: Any = None, *, key: str | None = None) -> Any:
        """Send a POST, which must succeed, and return its body."""
        answer = await self.call("POST", path, body, key=key)
        assert answer.status in (200, 201), answer.body
        return answer.body

    async def user(self) -> str:
        """Register a customer and return its id."""
        body = {
            "kind": "customer",
            "name": "Ana Souza",
            "document": {"type": "cpf", "number": cpf(next(self.world.numbers))},
            "email": "ana@example.com",
        }
        return str((await self.made("/v1/users", body))["id"])

    async def account(self, posted: int = 0, *, overdraft: int = 0, owner: str | None = None) -> str:
        """Open an account in BRL with a balance of `posted` minor units, and return its id."""
        body = {"owner_id": owner or await self.user(), "currency": "BRL", "overdraft_limit": overdraft}
        account_id = str((await self.made("/v1/accounts", body))["id"])
        if posted:
            await self.fund(account_id, posted)
        return account_id

    async def fund(self, account_id: str, amount: int) -> str:
        """Deposit an amount, deliver all events of the deposit, and return its id. Other deliveries stay in the
        pool."""
        before, self.world.pool.pending = self.world.pool.pending, []
        deposit = await self.deposit(account_id, amount)
        await self.world.settle()
        await self.world.pay_charges()
        await self.world.settle()
        self.world.pool.pending = before
        assert (await self.get(f"/v1/deposits/{deposit}"))["status"] == "settled"
        return deposit

    async def deposit(self, account_id: str, amount: int) -> str:
        """Request a deposit and return its id."""
        body = {"account_id": account_id, "amount": brl(amount), "method": "pix"}
        return str((await self.made("/v1/deposits", body))["id"])

    async def pay(self, payer: str, payee: str, amount: int, **more: Any) -> str:
        """Request a payment and return its id."""
        return str((await self.made("/v1/payments", payment(payer, payee, amount, **more)))["id"])

    async def status(self, payment_id: str) -> str:
        """Return a payment's status."""
        return str((await self.get(f"/v1/payments/{payment_id}"))["status"])


@dataclass(slots=True)
class World:
    """The platform under test. Create it with `World.in_memory`, `on_disk`, `hostile` or `on_documents`."""

    runtime: Runtime
    """The runtime with which a test reads. With a single process, it also processes requests and events."""
    clock: ManualClock
    pool: _Pool
    rail: _Rail
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
        servers, clock, pool, rail = Servers(die or SeededDie(seed)), ManualClock(), _Pool(), _Rail()
        turns, secrets = Random(seed + 1), MemorySecrets()
        await secrets.put(callback_secret_name("pix"), _CALLBACK_SECRET)

        def process(number: int) -> Runtime:
            return runtime_of(
                clock,
                Random(seed * 1000 + number),
                _Interleaved(HostileDocuments(servers), turns),
                _Interleaved(HostileLedger(servers), turns),
                _Interleaved(HostileCache(clock, servers.die), turns),
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
    async def on_documents(cls, documents: Sequence[Documents], seed: int = 0) -> World:
        """Create a process for each adapter of one documents store; they share a ledger and a bus in memory, and each
        has a cache of its own."""
        clock, pool, rail, ledger, secrets = ManualClock(), _Pool(), _Rail(), MemoryLedger(), MemorySecrets()
        await secrets.put(callback_secret_name("pix"), _CALLBACK_SECRET)
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
        pool, rail = _Pool(), _Rail()
        await ports.secrets.put(callback_secret_name("pix"), _CALLBACK_SECRET)
        bus, random = _KeptBus(ports.bus, pool), Random(1)
        made = runtime_of(clock, random, ports.documents, ports.ledger, ports.cache, bus, ports.secrets, rail)
        made.nonces = ports.nonces
        return cls(made, clock, pool, rail, [made], random, ports.documents)

    @classmethod
    async def _on(
        cls, documents: Any, ledger: Any, memory_cache: Any, clock: ManualClock, seed: int, *, interleaved: bool
    ) -> World:
        random, pool, rail, secrets = Random(seed), _Pool(), _Rail(), MemorySecrets()
        turns = Random(seed + 1)
        wrap = (lambda port: _Interleaved(port, turns)) if interleaved else (lambda port: port)
        runtime = runtime_of(clock, random, wrap(documents), wrap(ledger), wrap(memory_cache), pool, secrets, rail)
        await secrets.put(callback_secret_name("pix"), _CALLBACK_SECRET)
        return cls(runtime, clock, pool, rail, [runtime], Random(seed))

    async def close(self) -> None:
        """Close the store, if it is on disk."""
        if self.store is not None:
            await self.store.aclose()

    async def tenant(self, id: str = "tenant-a") -> Tenant:
        """Create a tenant."""
        number = next(self.numbers)
        headers = {
            "authorization": f"Bearer {_PLATFORM_TOKEN}",
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
                return _answer(await serve(operation, request, self.process()))
        raise AssertionError(f"there is no {request.method} {request.path}")

    async def _persistent(self, request: HttpRequest) -> Answer:
        """Send a request without a signature, and repeat it while the response asks for that."""
        answer = await self.request(request)
        for _ in range(0 if self.outbox is None else _MOST_ATTEMPTS):
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
            assert pending.attempts < _MOST_ATTEMPTS, f"{pending.consumer.id} never takes {pending.envelope.type}"
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
        for _ in range(1 if self.outbox is None else _MOST_ATTEMPTS):
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
        """Pay every requested charge; the rail reports each payment `times` times."""
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
        headers = provider_signature.sign(_CALLBACK_SECRET, body, self.clock.now())
        headers["content-type"] = "application/json"
        answer = await self._persistent(HttpRequest("POST", "/v1/providers/pix/callbacks", "", headers, body))
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
        headers = provider_signature.sign(_CALLBACK_SECRET, body, self.clock.now())
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


AT_ONCE: Final = Settings(outbox_grace_seconds=0, commit_pause_seconds=0.0)
"""Settings for a manual clock: the outbox needs no grace time, and retries need no pause."""


_SECRETS: Final = PredictableSecretSource(1)
"""One counter for all processes, so that tenants have different numbers."""


def runtime_of(
    clock: ManualClock, random: Random, documents: Any, ledger: Any, cache: Any, bus: Any, secrets: Any, rail: Any
) -> Runtime:
    return Runtime(
        settings=AT_ONCE,
        clock=clock,
        random=random,
        secret_source=_SECRETS,
        documents=documents,
        ledger=ledger,
        cache=cache,
        nonces=MemoryNonces(),
        bus=bus,
        secrets=secrets,
        flags=MemoryFlags(),
        verifier=cast("Any", _Verifier()),
        telemetry=Telemetry(random, 0.0),
        rails={"pix": rail},
        outgoing=_AcceptingEndpoints(),
    )


class _AcceptingEndpoints:
    """A network in which each webhook endpoint accepts every event at once."""

    async def refusal(self, url: str) -> str | None:
        return None

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> OutgoingAnswer:
        return OutgoingAnswer(204, None, 0)

    async def get(self, url: str, headers: Mapping[str, str]) -> OutgoingDocument:
        return OutgoingDocument(404, None, b"")

    def url_of(self, location: str) -> str:
        return f"https://{location}"


def _answer(response: HttpResponse) -> Answer:
    is_picture = response.headers.get("content-type", "").startswith("image/")
    body = orjson.loads(response.body) if response.body and not is_picture else None
    return Answer(response.status, body, response.headers, response.body)


def brl(value: int) -> dict[str, Any]:
    """Return an amount in BRL as the API writes it."""
    return {"value": value, "currency": "BRL"}


def payment(payer: str, payee: str, amount: int, **more: Any) -> dict[str, Any]:
    """Return the command of a payment."""
    return {
        "amount": brl(amount),
        "method": "internal",
        "payer_account_id": payer,
        "payee_account_id": payee,
        **more,
    }


def cpf(number: int) -> str:
    """Return the `number`-th CPF of a series, with its check digits (modulus 11)."""
    digits = [int(digit) for digit in f"{number + 100:09d}"]
    for _ in range(2):
        rest = sum(digit * weight for digit, weight in zip(reversed(digits), range(2, 12), strict=False)) % 11
        digits.append(0 if rest < 2 else 11 - rest)
    return "".join(map(str, digits))
