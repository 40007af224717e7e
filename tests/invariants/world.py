"""A platform without servers and without time of its own, for tests of what must hold.

Requests go through the whole pipeline and events along the ways that the manifests say, but nothing moves by itself:
every delivery lies in a pool until the test takes it out, in the order, as often and beside whatever it likes.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
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
from shared.adapters.pix import callback_signature as provider_signature
from shared.adapters.pix.formats import format_amount
from shared.adapters.pix.rail import PixHttpRail
from shared.adapters.sqlite.store import SqliteStore
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
from shared.ports.documents import Unavailable
from shared.ports.rail import callback_secret_name
from shared.records.catalogue import COLLECTIONS
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
from tests.predictable import PredictableSecretSource

ROOT: Final = Path(__file__).resolve().parents[2]
_PLATFORM_TOKEN: Final = "platform"
_CALLBACK_SECRET: Final = b"the rail's and ours"
_MOST_ATTEMPTS: Final = 60
"""How often a delivery may be refused for now before the test fails: nothing here stays refused."""


@cache
def the_plan() -> Plan:
    """The wiring of the repository."""
    return make_plan(load(ROOT))


@cache
def operations() -> dict[str, Operation]:
    """Every deployed function by the name of its Service."""
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
    """What a request was answered."""

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
    """One delivery that waits in the pool."""

    subscription: Subscription
    envelope: Envelope
    consumer: EventOperation
    attempts: int = 0
    copied: bool = False


class _Verifier:
    """Takes a tenant's id for a token with every scope: who signs tokens is tested elsewhere."""

    async def verify(self, token: str) -> Caller:
        if token == _PLATFORM_TOKEN:
            return Caller("platform", "platform", None, frozenset({PLATFORM_SCOPE}))
        return Caller(token, token, token, frozenset(TENANT_SCOPES))


class _Pool:
    """The bus: what is published becomes one delivery for each consumer."""

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


class _Rail(PixHttpRail):
    """A PIX provider that accepts every charge; the test decides which are paid."""

    def __init__(self) -> None:
        super().__init__("")
        self.charges: dict[str, int] = {}

    async def request_charge(self, reference: str, amount: int, currency: str, callback_url: str) -> None:
        assert self.charges.setdefault(reference, amount) == amount


def deliveries_of(envelope: Envelope) -> list[Pending]:
    """Where the manifests send an event."""
    found = []
    for route in the_plan().routes(envelope):
        if route.rest is None or route.rest(envelope):
            assert isinstance(route.subscription.target, ToService)
            consumer = operations()[route.subscription.target.name]
            assert isinstance(consumer, EventOperation)
            found.append(Pending(route.subscription, envelope, consumer))
    return found


class _Interleaved:
    """A port whose every call lets others go first, for as long as a seeded die says."""

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
    """A tenant with what it signs by. `call` is a request with a signature of its own."""

    world: World
    id: str
    key_id: str
    secret: str

    async def call(
        self, method: str, path: str, body: Any = None, *, key: str | None = None, query: str = ""
    ) -> Answer:
        """Send a request; a POST without `key` gets a new one."""
        content = b"" if body is None else orjson.dumps(body)
        headers = {"authorization": f"Bearer {self.id}"}
        if method == "POST":
            headers["content-type"] = "application/json"
            headers["idempotency-key"] = key or f"key-{next(self.world.numbers)}"
        answer = await self.world.request(self.signed(method, path, query, headers, content))
        for _ in range(_MOST_ATTEMPTS if self.world.servers is not None else 0):
            if answer.status != 503 and answer.code != "request_in_progress":
                break
            await asyncio.sleep(0)
            answer = await self.world.request(self.signed(method, path, query, headers, content))
        return answer

    def signed(self, method: str, path: str, query: str, headers: dict[str, str], content: bytes) -> HttpRequest:
        """The request with a signature of its own: the same command may be sent again under its key."""
        signed = dict(headers)
        if method == "POST":
            # Digits past the microsecond: requests of one instant differ, and no signature comes twice.
            timestamp = f"{format_time(self.world.clock.now())[:-1]}{next(self.world.numbers):09d}Z"
            canonical = signing.canonical_string(
                method, path, query, content, self.id, headers["idempotency-key"], timestamp, self.key_id
            )
            signed |= {"x-timestamp": timestamp, "x-key-id": self.key_id}
            signed["x-signature"] = signing.sign(self.secret, canonical)
        return HttpRequest(method, path, query, signed, content)

    async def get(self, path: str, query: str = "") -> Any:
        """The body of a GET that must succeed."""
        answer = await self.call("GET", path, query=query)
        assert answer.status == 200, answer.body
        return answer.body

    async def listed(self, path: str, query: str = "") -> list[Any]:
        """Everything of a list, page after page."""
        found: list[Any] = []
        page = await self.get(path, f"limit=100&{query}" if query else "limit=100")
        while True:
            found += page["data"]
            if page["next_cursor"] is None:
                return found
            page = await self.get(path, f"limit=100&cursor={page['next_cursor']}")

    async def made(self, path: str, body: Any = None, *, key: str | None = None) -> Any:
        """The body of a POST that must succeed."""
        answer = await self.call("POST", path, body, key=key)
        assert answer.status in (200, 201), answer.body
        return answer.body

    async def user(self) -> str:
        """Register a customer; its id."""
        body = {
            "kind": "customer",
            "name": "Ana Souza",
            "document": {"type": "cpf", "number": cpf(next(self.world.numbers))},
            "email": "ana@example.com",
        }
        return str((await self.made("/v1/users", body))["id"])

    async def account(self, posted: int = 0, *, overdraft: int = 0, owner: str | None = None) -> str:
        """Open an account in BRL and put `posted` minor units on it; its id."""
        body = {"owner_id": owner or await self.user(), "currency": "BRL", "overdraft_limit": overdraft}
        account_id = str((await self.made("/v1/accounts", body))["id"])
        if posted:
            await self.fund(account_id, posted)
        return account_id

    async def fund(self, account_id: str, amount: int) -> str:
        """Deposit an amount and see it through; the deposit's id. Other deliveries in the pool are left alone."""
        before, self.world.pool.pending = self.world.pool.pending, []
        deposit = await self.deposit(account_id, amount)
        await self.world.settle()
        await self.world.pay_charges()
        await self.world.settle()
        self.world.pool.pending = before
        assert (await self.get(f"/v1/deposits/{deposit}"))["status"] == "settled"
        return deposit

    async def deposit(self, account_id: str, amount: int) -> str:
        """Ask for a deposit; its id."""
        body = {"account_id": account_id, "amount": brl(amount), "method": "pix"}
        return str((await self.made("/v1/deposits", body))["id"])

    async def pay(self, payer: str, payee: str, amount: int, **more: Any) -> str:
        """Ask for a payment; its id."""
        return str((await self.made("/v1/payments", payment(payer, payee, amount, **more)))["id"])

    async def status(self, payment_id: str) -> str:
        """A payment's status."""
        return str((await self.get(f"/v1/payments/{payment_id}"))["status"])


@dataclass(slots=True)
class World:
    """Everything that a test needs. Make it with `World.in_memory` or `World.on_disk`."""

    runtime: Runtime
    """What a test reads by; where there is one process alone it serves as well."""
    clock: ManualClock
    pool: _Pool
    rail: _Rail
    processes: list[Runtime]
    """Those that answer requests and take events; which of them, the seed says."""
    chooser: Random
    servers: Servers | None = None
    """The stores that misbehave, if they do."""
    store: SqliteStore | None = None
    numbers: count[int] = field(default_factory=lambda: count(1))
    paid: set[str] = field(default_factory=set)
    observers: list[Callable[[Pending], Awaitable[None]]] = field(default_factory=list)

    @classmethod
    async def in_memory(cls, seed: int = 0, *, interleaved: bool = False) -> World:
        """A platform on plain dictionaries; `interleaved` suspends at each call of a port, by the seed."""
        clock = ManualClock()
        documents, ledger, memory_cache = MemoryDocuments(COLLECTIONS), MemoryLedger(), MemoryCache(clock)
        return await cls._on(documents, ledger, memory_cache, clock, seed, interleaved=interleaved)

    @classmethod
    async def on_disk(cls, data_dir: Path, seed: int = 0, *, interleaved: bool = False) -> World:
        """A platform on the embedded store. Close it."""
        clock = ManualClock()
        store = await SqliteStore.open(
            data_dir, collections=COLLECTIONS, settings=Settings(data_dir=str(data_dir)), clock=clock
        )
        world = await cls._on(store.documents, store.ledger, store.cache, clock, seed, interleaved=interleaved)
        world.store = store
        return world

    @classmethod
    async def hostile(cls, seed: int = 0, *, die: Die | None = None, processes: int = 2) -> World:
        """Several processes, each with a cache of its own, on stores in memory that they share and that misbehave."""
        servers, clock, pool, rail = Servers(die or SeededDie(seed)), ManualClock(), _Pool(), _Rail()
        turns, secrets = Random(seed + 1), MemorySecrets()
        await secrets.put(callback_secret_name("pix"), _CALLBACK_SECRET)

        def process(number: int) -> Runtime:
            return _runtime(
                clock,
                Random(seed * 1000 + number),
                _Interleaved(HostileDocuments(servers), turns),
                _Interleaved(HostileLedger(servers), turns),
                _Interleaved(HostileCache(clock, servers.die), turns),
                bus=HostileBus(servers, pool.publish),
                secrets=secrets,
                rail=HostileRail(servers, rail),
            )

        reader = _runtime(
            clock, Random(seed), servers.documents, servers.ledger, MemoryCache(clock), pool, secrets, rail
        )
        made = [process(number) for number in range(1, processes + 1)]
        return cls(reader, clock, pool, rail, made, Random(seed), servers)

    @classmethod
    async def _on(
        cls, documents: Any, ledger: Any, memory_cache: Any, clock: ManualClock, seed: int, *, interleaved: bool
    ) -> World:
        random, pool, rail, secrets = Random(seed), _Pool(), _Rail(), MemorySecrets()
        turns = Random(seed + 1)
        wrap = (lambda port: _Interleaved(port, turns)) if interleaved else (lambda port: port)
        runtime = _runtime(clock, random, wrap(documents), wrap(ledger), wrap(memory_cache), pool, secrets, rail)
        await secrets.put(callback_secret_name("pix"), _CALLBACK_SECRET)
        return cls(runtime, clock, pool, rail, [runtime], Random(seed))

    async def close(self) -> None:
        """Close the store, when there is one to close."""
        if self.store is not None:
            await self.store.close()

    async def tenant(self, id: str = "tenant-a") -> Tenant:
        """Take a tenant on."""
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
        """Send a request to the operation of its method and path."""
        for operation in http_operations():
            if operation.method == request.method and operation.pattern.fullmatch(request.path):
                return _answer(await serve(operation, request, self.process()))
        raise AssertionError(f"there is no {request.method} {request.path}")

    async def _persistent(self, request: HttpRequest) -> Answer:
        """Send a request that carries no signature of ours, as often as it is told to come again."""
        answer = await self.request(request)
        for _ in range(0 if self.servers is None else _MOST_ATTEMPTS):
            if answer.status != 503 and answer.code != "request_in_progress":
                break
            answer = await self.request(request)
        return answer

    def process(self) -> Runtime:
        """One of the processes."""
        return self.chooser.choice(self.processes)

    async def forget(self) -> None:
        """Have every cache lose everything."""
        for process in self.processes:
            await process.cache.clear()

    # Events

    async def deliver(self, pending: Pending) -> None:
        """Deliver once. What is refused for now goes back into the pool; what is refused for good is parked."""
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
        """Deliver an event until it is taken, where stores misbehave; else it must be the first time."""
        status = None
        for _ in range(1 if self.servers is None else _MOST_ATTEMPTS):
            status = (await deliver(consumer, envelope, self.process())).status
            if status == 204:
                return
        raise Unavailable(f"{consumer.id} answered {status}")

    async def settle(self) -> None:
        """Deliver what there is and what comes of it, in order, until nothing is left."""
        while self.pool.pending or await self.left_behind():
            await self.deliver(self.pool.pending.pop(0))

    async def left_behind(self) -> bool:
        """Whether there was something in the outbox that no process had published; now it is."""
        if self.servers is None:
            return False
        await self.servers.arrived()
        while self.servers.documents._outbox:
            self.later(milliseconds=1)
            await self.tick("operations-sweep-outbox")
        return bool(self.pool.pending)

    async def settle_wildly(self, random: Random, *, times: int = 2, forgetful: bool = True, abreast: int = 1) -> None:
        """Deliver everything `times` times over in any order, `abreast` at once, until nothing is left.

        `forgetful` wipes the cache between every two deliveries, locks and deadlines and all.
        """
        while self.pool.pending or await self.left_behind():
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
        """Have strangers pay every charge that the rail was asked for; it reports each `times` times."""
        for reference in [reference for reference in self.rail.charges if reference not in self.paid]:
            self.paid.add(reference)
            for _ in range(times):
                await self.report(reference, self.rail.charges[reference])

    async def report(self, reference: str, amount: int, *, end_to_end_id: str | None = None) -> None:
        """Report money for a charge as the rail does."""
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

    async def tick(self, schedule: str) -> None:
        """Let a schedule have its turn now, by the PingSource of that name."""
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
        """Move the clock by a timedelta's arguments."""
        self.clock.advance(timedelta(**step))


_AT_ONCE: Final = Settings(outbox_grace_seconds=0, commit_pause_seconds=0.0)
"""A test's time stands still: what a process left in the outbox need not be given time to get published by it, and
nothing is gained by a pause."""


_SECRETS: Final = PredictableSecretSource(1)
"""One for all processes: no two tenants have the same."""


def _runtime(
    clock: ManualClock, random: Random, documents: Any, ledger: Any, cache: Any, bus: Any, secrets: Any, rail: Any
) -> Runtime:
    return Runtime(
        settings=_AT_ONCE,
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
    )


def _answer(response: HttpResponse) -> Answer:
    body = orjson.loads(response.body) if response.body else None
    return Answer(response.status, body, response.headers, response.body)


def brl(value: int) -> dict[str, Any]:
    """An amount as the contract writes it."""
    return {"value": value, "currency": "BRL"}


def payment(payer: str, payee: str, amount: int, **more: Any) -> dict[str, Any]:
    """A payment's command."""
    return {
        "amount": brl(amount),
        "method": "internal",
        "payer_account_id": payer,
        "payee_account_id": payee,
        **more,
    }


def cpf(number: int) -> str:
    """The `number`-th CPF of some, with its check digits (modulus 11)."""
    digits = [int(digit) for digit in f"{number + 100:09d}"]
    for _ in range(2):
        rest = sum(digit * weight for digit, weight in zip(reversed(digits), range(2, 12), strict=False)) % 11
        digits.append(0 if rest < 2 else 11 - rest)
    return "".join(map(str, digits))
