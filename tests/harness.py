"""Every function of the repository around one runtime, without a platform.

Requests go through the whole pipeline (token, signature, idempotency). Events are delivered to every operation whose
deployed Trigger passes them, in any order and as often as a test requires.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache as cached
from pathlib import Path
from random import Random
from typing import Any, Protocol, cast

import orjson

from shared.adapters.bank_transfer.rail import HttpBankTransfers
from shared.adapters.card.gateway import CardHttpGateway
from shared.adapters.files.keyfile import KeyFileSecrets
from shared.adapters.memory.stores import (
    MemoryBus,
    MemoryCache,
    MemoryDocuments,
    MemoryFlags,
    MemoryLedger,
    MemoryNonces,
    MemorySecrets,
)
from shared.adapters.notifiers.choosing import notifiers
from shared.adapters.outgoing.client import HttpOutgoing
from shared.adapters.pix.rail import PixHttpRail
from shared.adapters.sqlite.store import SqliteStore
from shared.bootstrap.process import Ports
from shared.context.runtime import Runtime
from shared.core.clock import ManualClock, format_time
from shared.core.envelope import Envelope, Event
from shared.core.ids import derived_id
from shared.core.problems import Problem
from shared.core.settings import Settings
from shared.core.strict_yaml import read_values
from shared.functions.decorators import operation_of
from shared.functions.operation import Operation
from shared.http.messages import HttpRequest
from shared.http.operation import Access, HttpOperation
from shared.http.pipeline import serve
from shared.http.signing import canonical_string, sign
from shared.identity.tenancy import PLATFORM_SCOPE, TENANT_SCOPES
from shared.identity.tokens import Caller, TokenVerifier
from shared.messaging.delivery import Delivery, deliver
from shared.messaging.operation import EventOperation
from shared.ports.documents import Collection, Commit, D, Documents, InboxMarker, Query, ReadToken
from shared.records.catalogue import COLLECTIONS
from shared.telemetry.recorder import Telemetry
from tests.opening import open_adapter
from tests.predictable import PredictableSecretSource
from tests.state_machines import CheckedDocuments

ROOT = Path(__file__).parent.parent
RETRIED = frozenset({409, 429, 500, 503})
MAX_RETRIES = 20


@cached
def operations() -> dict[str, Operation]:
    """Return every operation of the repository by its id, `<domain>/<operation>`."""
    found: dict[str, Operation] = {}
    for path in sorted((ROOT / "functions").glob("*/[!_]*.py")):
        module = importlib.import_module(f"functions.{path.parent.name}.{path.stem}")
        operation = operation_of(getattr(module, path.stem))
        assert operation is not None, path
        found[operation.id] = operation
    return found


@cached
def trigger_filters() -> dict[str, list[dict[str, Any]]]:
    """Return the filters of each function's deployed Triggers, by the operation's id."""
    by_service = {operation.id.replace("/", "-").replace("_", "-"): id for id, operation in operations().items()}
    found: dict[str, list[dict[str, Any]]] = {}
    for path in sorted((ROOT / "knative" / "eventing").rglob("*.yaml")):
        for document in read_values(path.read_text()):
            if not document or document.get("kind") != "Trigger":
                continue
            spec = document["spec"]
            service = spec["subscriber"]["ref"]["name"]
            filters = spec.get("filters") or [{"exact": spec["filter"]["attributes"]}]
            found.setdefault(by_service[service], []).append({"all": filters})
    return found


def takes(filter: Mapping[str, Any], attributes: Mapping[str, str]) -> bool:
    """Return whether a Trigger's filter passes an event. Supports the dialects of the deployed Triggers."""
    for dialect, operand in filter.items():
        if dialect == "exact":
            matched = all(attributes.get(name) == value for name, value in operand.items())
        elif dialect == "all":
            matched = all(takes(inner, attributes) for inner in operand)
        elif dialect == "prefix":
            matched = all(attributes.get(name, "").startswith(value) for name, value in operand.items())
        elif dialect == "not":
            matched = not takes(operand, attributes)
        elif dialect == "any":
            matched = any(takes(inner, attributes) for inner in operand)
        else:
            raise AssertionError(f"the harness does not know the filter {dialect}")
        if not matched:
            return False
    return True


class TextTokens(TokenVerifier):
    """Tokens in plain text: `<tenant or ->|<scopes>|<user>`."""

    def __init__(self) -> None:
        """Create the verifier, which needs no keys."""

    async def verify(self, token: str) -> Caller:
        parts = token.split("|")
        if len(parts) != 3:
            raise Problem("invalid_token", "not a token of the harness")
        tenant_id, scopes, user_id = parts
        return Caller(
            subject="harness",
            client_id="harness",
            tenant_id=None if tenant_id == "-" else tenant_id,
            scopes=frozenset(scopes.split()),
            user_id=user_id or None,
        )


class InterleavedDocuments:
    """Documents in memory that suspend before reads and writes, at random by a seed."""

    def __init__(self, documents: MemoryDocuments, random: Random) -> None:
        self._documents = documents
        self._random = random

    async def _pause(self) -> None:
        for _ in range(self._random.randrange(4)):
            await asyncio.sleep(0)

    @property
    def read_token(self) -> ReadToken | None:
        return self._documents.read_token

    @property
    def answers_at_once(self) -> bool:
        return False

    async def get(self, collection: Collection[D, ...], tenant_id: str, id: str) -> D | None:
        await self._pause()
        return await self._documents.get(collection, tenant_id, id)

    async def find(self, collection: Collection[D, ...], tenant_id: str | None, query: Query) -> Sequence[D]:
        await self._pause()
        return await self._documents.find(collection, tenant_id, query)

    async def seen(self, marker: InboxMarker) -> bool:
        await self._pause()
        return await self._documents.seen(marker)

    async def history(self, tenant_id: str, name: str, after: str | None, limit: int) -> Sequence[Envelope]:
        await self._pause()
        return await self._documents.history(tenant_id, name, after, limit)

    async def commit(self, commit: Commit) -> None:
        await self._pause()
        await self._documents.commit(commit)

    async def durable(self, read_token: ReadToken | None = None) -> None:
        await self._pause()

    async def unsent(self, older_than: str, limit: int) -> Sequence[Envelope]:
        return await self._documents.unsent(older_than, limit)

    async def mark_sent(self, events: Sequence[Envelope]) -> None:
        await self._documents.mark_sent(events)


class Forgetful(Protocol):
    """Documents on a server, in which a test may remove fields."""

    async def forget(self, collection: Collection[Any, ...], tenant_id: str, id: str, *fields: str) -> None:
        """Remove fields from a stored document."""
        ...


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def code(self) -> str:
        """The code of a problem."""
        assert self.headers["content-type"] == "application/problem+json", self.body
        code: str = self.json["code"]
        return code


@dataclass(slots=True)
class Undelivered:
    """A delivery that failed for good, which a broker would send to the dead letter sink."""

    operation: str
    envelope: Envelope
    delivery: Delivery


@dataclass(slots=True)
class SigningPair:
    """A tenant's key id and secret."""

    key_id: str
    secret: str


def _runtime(ports: Ports, clock: ManualClock, random: Random, settings: Settings | None) -> Runtime:
    rail, card_gateway = PixHttpRail(""), CardHttpGateway("")
    return Runtime(
        settings=settings or Settings(),
        clock=clock,
        random=random,
        secret_source=PredictableSecretSource(random.getrandbits(32)),
        documents=ports.documents,
        ledger=ports.ledger,
        cache=ports.cache,
        nonces=ports.nonces,
        bus=ports.bus,
        secrets=ports.secrets,
        flags=ports.flags,
        verifier=TextTokens(),
        telemetry=Telemetry(random, 0.0),
        rails={"pix": rail},
        card_gateway=card_gateway,
        payment_rails={
            "pix": rail.payments,
            "bank_transfer": HttpBankTransfers(""),
            "card": card_gateway.captures,
        },
        outgoing=HttpOutgoing(settings or Settings()),
        notifiers=notifiers(settings or Settings()),
    )


@dataclass
class Harness:
    """A runtime with all functions, and methods that send requests and events to them."""

    runtime: Runtime
    clock: ManualClock
    documents: Documents
    random: Random
    events: list[Envelope]
    """Every event that was committed, oldest first."""
    keys: dict[str, SigningPair] = field(default_factory=dict)
    undelivered: list[Undelivered] = field(default_factory=list)
    default_tenant: str = "acme"
    store: SqliteStore | None = None
    _funding: set[str] = field(default_factory=set)
    _routed: int = 0
    _requests: int = 0

    @classmethod
    def make(cls, *, seed: int = 1, interleaved: bool = False, settings: Settings | None = None) -> Harness:
        """Create a harness on the memory adapters, without a tenant. With `interleaved`, concurrent runs interleave
        between reads and commits."""
        clock, documents = ManualClock(), MemoryDocuments(COLLECTIONS)
        checked = CheckedDocuments.over(documents)
        seen = InterleavedDocuments(checked, Random(seed)) if interleaved else checked
        random = Random(seed)
        ports = Ports(
            documents=seen,
            ledger=MemoryLedger(),
            nonces=MemoryNonces(),
            cache=MemoryCache(clock),
            bus=MemoryBus(),
            secrets=MemorySecrets(),
            flags=MemoryFlags(),
        )
        runtime = _runtime(ports, clock, random, settings)
        return cls(runtime, clock, documents, random, documents.events)

    @classmethod
    async def on_disk(cls, data_dir: Path, *, seed: int = 1, settings: Settings | None = None) -> Harness:
        """Create a harness on the embedded store in a directory, without a tenant. The caller closes it."""
        clock, random, events = ManualClock(), Random(seed), list[Envelope]()
        store = await open_adapter(
            SqliteStore(data_dir, collections=COLLECTIONS, settings=settings or Settings(), clock=clock)
        )
        store.subscribe(lambda _, logged: events.extend(logged))
        ports = Ports(
            documents=store.documents,
            ledger=store.ledger,
            nonces=store.nonces,
            cache=MemoryCache(clock),
            bus=MemoryBus(),
            secrets=KeyFileSecrets(data_dir),
            flags=MemoryFlags(),
        )
        runtime = _runtime(ports, clock, random, settings)
        return cls(runtime, clock, store.documents, random, events, store=store)

    @classmethod
    def around(cls, ports: Ports, events: list[Envelope], clock: ManualClock, settings: Settings) -> Harness:
        """Create a harness on open adapters, without a tenant. Their documents add what is committed to `events`."""
        random = Random(1)
        return cls(_runtime(ports, clock, random, settings), clock, ports.documents, random, events)

    async def close(self) -> None:
        """Close the embedded store, if there is one."""
        if self.store is not None:
            await self.store.aclose()

    def events_of(self, model: type[Event], subject: str | None = None) -> list[Any]:
        """Return the data of the committed events of a type, of one aggregate or of all."""
        return [
            envelope.parsed(model)
            for envelope in self.events
            if envelope.type == model.type and subject in (None, envelope.subject)
        ]

    # Requests

    async def call(self, method: str, path: str, body: Any = None, **options: Any) -> Answer:
        """Send a signed request to the operation with this method and path (without the query)."""
        for operation in operations().values():
            if (
                isinstance(operation, HttpOperation)
                and operation.method == method
                and operation.pattern.fullmatch(path)
            ):
                return await self.http(operation, method, path, body, **options)
        raise AssertionError(f"nothing answers {method} {path}")

    async def http(
        self,
        operation: HttpOperation | str,
        method: str,
        path: str,
        body: Any = None,
        *,
        tenant: str | None = None,
        scopes: Iterable[str] | None = None,
        sign: bool = True,
        key: str | None = None,
        query: str = "",
        headers: Mapping[str, str] | None = None,
        person: str = "",
    ) -> Answer:
        """Send a request through the whole pipeline. `body` is a JSON value or bytes; `key` is the Idempotency-Key,
        by default a new one; `headers` replace others, and an empty value removes one. `person` is the user in whose
        name the token is."""
        if isinstance(operation, str):
            found = operations()[operation]
            assert isinstance(found, HttpOperation)
            operation = found
        raw = body if isinstance(body, bytes) else b"" if body is None else orjson.dumps(body)
        request = HttpRequest(method, path, query, {}, raw)
        if operation.access is not Access.PROVIDER:
            owner = "-" if operation.access is Access.PLATFORM else tenant or self.default_tenant
            self._authorize(operation, request, owner, scopes, key, signed=sign, person=person)
        if raw:
            request.headers["content-type"] = "application/json"
        request.headers.update(headers or {})
        answer = await serve(operation, request, self.runtime)
        content = [piece async for piece in answer.stream] if answer.stream is not None else [answer.body]
        return Answer(answer.status, answer.headers, b"".join(content))

    def _authorize(
        self,
        operation: HttpOperation,
        request: HttpRequest,
        tenant: str,
        scopes: Iterable[str] | None,
        key: str | None,
        *,
        signed: bool,
        person: str,
    ) -> None:
        if scopes is None:
            scopes = (PLATFORM_SCOPE,) if operation.access is Access.PLATFORM else TENANT_SCOPES
        request.headers["authorization"] = f"Bearer {tenant}|{' '.join(scopes)}|{person}"
        if request.method == "GET":
            return
        self._requests += 1
        request.headers["idempotency-key"] = key or f"key-{self._requests}"
        if signed and operation.access is Access.TENANT:
            self.sign(request, tenant)

    def sign(self, request: HttpRequest, tenant: str) -> None:
        """Sign a request with the tenant's key and the present time; each signature is different."""
        pair = self.keys[tenant]
        # Digits beyond the microsecond make signatures different while the clock does not move.
        timestamp = f"{format_time(self.clock.now())[:-1]}{self._requests:06d}Z"
        canonical = canonical_string(
            request.method,
            request.path,
            request.query,
            request.body,
            tenant,
            request.headers.get("idempotency-key", ""),
            timestamp,
            pair.key_id,
        )
        request.headers["x-timestamp"] = timestamp
        request.headers["x-key-id"] = pair.key_id
        request.headers["x-signature"] = sign(pair.secret, canonical)

    # Events

    def envelope(self, event: Event, *, tenant: str | None = None, id: str | None = None, **more: str) -> Envelope:
        """Return an event as another function publishes it. The same id gives the same event."""
        owner = tenant or self.default_tenant
        extensions = {
            "tenantid": owner,
            "partitionkey": f"{owner}/{event.subject}",
            "correlationid": "harness",
            **more,
        }
        return Envelope(
            id=id or derived_id("evt", owner, self.runtime.ids.new("evt"), event.type),
            source="/lastro/tests/harness",
            type=event.type,
            subject=event.subject,
            time=format_time(self.clock.now()),
            extensions=extensions,
            data=event.model_dump_json().encode(),
            repeated=True,
        )

    async def deliver(self, operation: EventOperation | str, envelope: Envelope, *, first: bool = False) -> Delivery:
        """Deliver one event to one operation."""
        if isinstance(operation, str):
            found = operations()[operation]
            assert isinstance(found, EventOperation)
            operation = found
        return await deliver(operation, envelope, self.runtime, first=first)

    def consumers(self, envelope: Envelope) -> list[EventOperation]:
        """Return the operations whose Triggers pass an event."""
        attributes = envelope.attributes()
        found: list[EventOperation] = []
        for id, filters in trigger_filters().items():
            operation = operations()[id]
            if operation.domain == "providers" and envelope.subject in self._funding:
                continue
            if any(takes(filter, attributes) for filter in filters):
                assert isinstance(operation, EventOperation)
                found.append(operation)
        return found

    async def run_events(self, *, times: int = 1, shuffled: bool = False, together: bool = False) -> int:
        """Deliver the published events, and those that follow, until none is left. Returns the number of events.

        Each delivery is made `times` times; with `shuffled` in a seeded random order; with `together` concurrently.
        Deliveries that fail for good are stored in `undelivered`.
        """
        count = 0
        while self._routed < len(self.events):
            pending = self.events[self._routed :]
            self._routed = len(self.events)
            count += len(pending)
            deliveries = [
                (operation, envelope) for envelope in pending for operation in self.consumers(envelope)
            ] * times
            if shuffled:
                self.random.shuffle(deliveries)
            runs = [self._retried(operation, envelope) for operation, envelope in deliveries]
            if together:
                await asyncio.gather(*runs)
            else:
                for run in runs:
                    await run
        return count

    async def _retried(self, operation: EventOperation, envelope: Envelope) -> None:
        delivery = await self.deliver(operation, envelope)
        for attempt in range(MAX_RETRIES):
            if delivery.status not in RETRIED:
                break
            # Retried, as a broker does: another delivery of the event may be in progress.
            await asyncio.sleep(min(0.1, 0.001 * 2**attempt))
            delivery = await self.deliver(operation, envelope)
        if delivery.status != 204:
            self.undelivered.append(Undelivered(operation.id, envelope, delivery))

    async def step(self, operation: str, position: int = 0) -> int:
        """Deliver the events from a position on to one operation, and return the next position."""
        waiting = self.events[position:]
        for envelope in waiting:
            if operation in (consumer.id for consumer in self.consumers(envelope)):
                delivery = await self.deliver(operation, envelope)
                assert delivery.status == 204, delivery
        return position + len(waiting)

    async def replay_all(self) -> None:
        """Deliver every event again to all its consumers."""
        self._routed = 0
        await self.run_events()

    # Resources for tests

    async def tenant(self, id: str = "acme", **fields: Any) -> Any:
        """Create a tenant and store its signing key for its requests."""
        answer = await self.call("POST", "/v1/tenants", {"id": id, "name": id.title(), **fields})
        assert answer.status == 201, answer.body
        created = answer.json
        self.keys[id] = SigningPair(created["signing_key"]["key_id"], created["signing_key"]["secret"])
        return created

    async def user(self, number: str = "52998224725", *, tenant: str | None = None, **fields: Any) -> Any:
        """Register a user with this CPF, or return the existing one."""
        body = {
            "kind": "customer",
            "name": "Ana Souza",
            "document": {"type": "cpf", "number": number},
            "email": "ana@example.test",
            **fields,
        }
        answer = await self.call("POST", "/v1/users", body, tenant=tenant)
        if answer.status == 409:
            users = (await self.call("GET", "/v1/users", tenant=tenant, query="limit=100")).json["data"]
            return next(user for user in users if user["document"]["number"] == number)
        assert answer.status == 201, answer.body
        return answer.json

    async def account(self, funds: int = 0, *, tenant: str | None = None, **fields: Any) -> Any:
        """Open an account in BRL with this balance."""
        if "owner_id" not in fields:
            fields["owner_id"] = (await self.user(tenant=tenant))["id"]
        answer = await self.call("POST", "/v1/accounts", {"currency": "BRL", **fields}, tenant=tenant)
        assert answer.status == 201, answer.body
        if funds:
            await self.fund(answer.json["id"], funds, tenant=tenant, currency=answer.json["currency"])
        return answer.json

    async def fund(self, account_id: str, amount: int, *, tenant: str | None = None, currency: str = "BRL") -> None:
        """Credit an account as a callback of the PIX rail does, without a deposit, and deliver all events."""
        from events.charges import ChargePaid
        from shared.core.money import Money
        from shared.records.system_accounts import clearing_account

        charge = self.runtime.ids.new("dep")
        transfer_id = derived_id("ltr", tenant or self.default_tenant, charge, "deposit")
        self._funding.add(transfer_id)
        paid = ChargePaid(
            charge_id=charge,
            deposit_id=charge,
            account_id=account_id,
            amount=Money(value=amount, currency=currency),
            end_to_end_id=charge,
            transfer_id=transfer_id,
            clearing_account_id=clearing_account("pix", currency),
        )
        delivery = await self.deliver("ledger/post_transfer", self.envelope(paid, tenant=tenant))
        assert delivery.status == 204, delivery
        await self.run_events()

    async def alter(
        self, collection: Collection[Any, ...], id: str, *, tenant: str | None = None, **fields: object
    ) -> None:
        """Change a stored document directly, without a function."""
        owner = tenant or self.default_tenant
        document = await self.documents.get(collection, owner, id)
        assert document is not None, id
        await self.documents.commit(Commit(owner, replaces=[(collection, {**document, **fields})]))

    async def forget(self, collection: Collection[Any, ...], id: str, *fields: str) -> None:
        """Remove fields from a stored document: an earlier version has stored it, which did not know them."""
        assert set(fields) <= set(collection.fields)
        if isinstance(self.documents, MemoryDocuments):
            for field in fields:
                del self.documents._rows[collection.name, self.default_tenant, id][field]
        else:
            await cast("Forgetful", self.documents).forget(collection, self.default_tenant, id, *fields)

    async def balance(self, account_id: str, *, tenant: str | None = None) -> tuple[int, int, int]:
        """Return the posted, held and available amounts of an account from the API."""
        answer = await self.call("GET", f"/v1/accounts/{account_id}/balance", tenant=tenant)
        assert answer.status == 200, answer.body
        return answer.json["posted"], answer.json["held"], answer.json["available"]

    async def pay(self, payer: str, payee: str, value: int, *, tenant: str | None = None, **fields: Any) -> Any:
        """Create a payment in BRL; its events are not delivered."""
        body = {
            "amount": {"value": value, "currency": "BRL"},
            "method": "internal",
            "payer_account_id": payer,
            "payee_account_id": payee,
            **fields,
        }
        answer = await self.call("POST", "/v1/payments", body, tenant=tenant)
        assert answer.status == 201, answer.body
        return answer.json

    async def payment(self, payment_id: str, *, tenant: str | None = None) -> Any:
        """Return a payment from the API."""
        return (await self.call("GET", f"/v1/payments/{payment_id}", tenant=tenant)).json
