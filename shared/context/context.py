"""The context of a handler: the time, ids, its tenant, its unit of work, and the method that publishes facts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from shared.context.tenant_secrets import TenantSecrets
from shared.core.clock import format_time
from shared.core.envelope import DEAD_LETTER_ID, Envelope, Event
from shared.core.ids import derived_id
from shared.core.problems import Problem
from shared.ports.documents import (
    Change,
    Collection,
    Commit,
    D,
    Expectation,
    Fields,
    InvalidWrite,
    P,
    Query,
)

if TYPE_CHECKING:
    from shared.context.due_work import DueWork
    from shared.context.runtime import Runtime
    from shared.core.settings import Settings
    from shared.identity.tokens import Caller
    from shared.ports.card_gateway import CardGateway
    from shared.ports.identity import Clients
    from shared.ports.ledger import LedgerStore
    from shared.ports.notifier import Channel, Notifier
    from shared.ports.outgoing import Outgoing
    from shared.ports.rail import Rail
    from shared.ports.rail_payments import PaymentRail, RailRules

Handler = Callable[..., Awaitable[Any]]
"""The coroutine of an operation. It is called with the parts of the request or event, and a context."""

_log = logging.getLogger("lastro.operations")
_FACT_NUMBER: Final = 0xFFF


class Origin(NamedTuple):
    """The cause of a handler's run; the ids that it derives and the events that it publishes are made from it.

    `cause_id` is the id of the event or of the idempotency record. The same cause gives the same ids.
    """

    operation: str
    cause_id: str
    correlation_id: str
    causation_id: str | None
    traceparent: str
    dead_letter_id: str | None = None
    """The id of the dead letter that caused the run. The events of the run carry it (see DEAD_LETTER_ID)."""


class Context:
    """The unit of work of one run of a handler, and the services that a handler may use.

    It reads documents of one tenant and gathers writes; they become one atomic commit when the handler has returned.
    Each write raises InvalidWrite when another domain owns the collection. `now` is the same during the whole run.

    `runtime` and `pending` are for the packages that run handlers; a function uses neither.
    """

    __slots__ = (
        *("_documents", "_domain", "_event_id", "_facts", "_loaded", "_staged"),
        *("attempt", "caller", "now", "now_text", "origin", "pending", "runtime", "tenant_id"),
    )

    def __init__(self, runtime: Runtime, tenant_id: str, origin: Origin, caller: Caller | None = None) -> None:
        self.runtime = runtime
        self.origin = origin
        self.caller = caller
        self.attempt = 0
        """How often the handler has run before for the same cause, with a commit that was refused."""
        self.now = now = runtime.clock.now()
        self.now_text = format_time(now)
        self._documents = documents = runtime.documents
        # The run may write only the collections of the domain of its operation (`<domain>/<operation>`).
        self._domain = origin.operation.partition("/")[0]
        self._staged: dict[tuple[str, str], Any] = {}
        self._loaded: dict[tuple[str, str], Any] | None = None
        self._facts = 0
        self._event_id = ""
        self.tenant_id = tenant_id
        self.pending = Commit(tenant_id, read_token=documents.read_token)

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        """The log of the run. Each line has the operation, the tenant and the request id."""
        fields = {
            "operation": self.origin.operation,
            "tenant": self.tenant_id,
            "request_id": self.origin.correlation_id,
        }
        return logging.LoggerAdapter(_log, fields)

    @property
    def ledger(self) -> LedgerStore:
        """The ledger. A recorded transfer is a separate step and not part of the commit."""
        return self.runtime.ledger

    @property
    def rails(self) -> Mapping[str, Rail]:
        """The payment rails, by the name of the provider."""
        return self.runtime.rails

    @property
    def rail_rules(self) -> Mapping[str, RailRules]:
        """What the rails of payments accept, by the payment method. No provider is asked."""
        return self.runtime.payment_rails

    @property
    def payment_rails(self) -> Mapping[str, PaymentRail]:
        """The rails that payments are made over, by the payment method."""
        return self.runtime.payment_rails

    @property
    def card_gateway(self) -> CardGateway:
        """The gateway of card payments."""
        gateway = self.runtime.card_gateway
        assert gateway is not None, "this process was started without a card gateway"
        return gateway

    @property
    def clients(self) -> Clients | None:
        """The clients of the realm that issues access tokens; None when the platform issues them itself."""
        return self.runtime.clients

    @property
    def notifiers(self) -> Mapping[Channel, Notifier]:
        """The gateways for messages to persons, by channel."""
        return self.runtime.notifiers

    @property
    def outgoing(self) -> Outgoing:
        """Requests to addresses that tenants have chosen."""
        outgoing = self.runtime.outgoing
        assert outgoing is not None, "every process of functions has one"
        return outgoing

    @property
    def webhooks(self) -> DueWork:
        """The deliveries of webhooks that this process is to make."""
        return self.runtime.webhooks

    @property
    def settings(self) -> Settings:
        """The settings of the process."""
        return self.runtime.settings

    @property
    def secrets(self) -> TenantSecrets:
        """Encryption of this tenant's fields, and new secrets."""
        return TenantSecrets(self.runtime.secrets, self.runtime.secret_source, self.tenant_id)

    @property
    def signature_window_seconds(self) -> int:
        """How far the time in a signature may differ from `now`."""
        return self.runtime.settings.timestamp_window_seconds

    @property
    def reconciliation_movements(self) -> int:
        """The greatest number of movements on each side of a reconciliation."""
        return self.runtime.settings.reconciliation_movements

    @property
    def statement_pdf_lines(self) -> int:
        """The greatest number of lines of a statement as a PDF."""
        return self.runtime.settings.statement_pdf_lines

    @property
    def statement_total_lines(self) -> int:
        """The greatest number of lines of a period whose totals a page of a statement shows."""
        return self.runtime.settings.statement_total_lines

    def count(self, name: str, label: str, by: int) -> None:
        """Increase the metric `lastro_<name>_total` with this label. A run that is repeated counts again."""
        self.runtime.telemetry.count(name, label, by)

    def measure(self, name: str, label: str, value: float) -> None:
        """Set the metric `lastro_<name>` with this label."""
        self.runtime.telemetry.measure(name, value, label)

    def public_url(self, path: str) -> str:
        """Return the URL of a path of this platform, for other systems."""
        return self.runtime.settings.base_url.rstrip("/") + path

    async def durable(self) -> None:
        """Wait until everything that this process has committed would survive a crash. Raises Unavailable when it would
        not.

        A handler calls this before it sends a command to another system, whose callback may arrive at once.
        """
        await self._documents.durable()

    def scope_to(self, tenant_id: str) -> None:
        """Change the tenant of the run, for an operation that finds its tenant in what it reads (callbacks, sweeps).

        Raises RuntimeError when the run has already read or written documents of another tenant.
        """
        pending = self.pending
        if not pending.is_empty:
            raise RuntimeError("a unit of work belongs to one tenant")
        self.tenant_id = tenant_id
        self.pending = Commit(tenant_id, inbox=pending.inbox, read_token=self._documents.read_token)
        self._staged, self._loaded, self._event_id = {}, None, ""

    def spread(self, seconds: float, share: float) -> float:
        """Return a random time around `seconds`, which differs from it by at most this share: a retry with jitter."""
        return seconds * self.runtime.random.uniform(1 - share, 1 + share)

    # Ids

    def new_id(self, prefix: str) -> str:
        """Return a new id, ordered by time."""
        return self.runtime.ids.new(prefix)

    def derived_id(self, prefix: str, source_id: str, purpose: str) -> str:
        """Return the id of this purpose for this source in this tenant. It is always the same."""
        return derived_id(prefix, self.tenant_id, source_id, purpose)

    # Documents

    def get(self, collection: Collection[D, ...], id: str) -> Awaitable[D | None]:
        """Return the document as this unit of work would store it (without its increments), or None."""
        if self._staged:
            staged = self._staged.get((collection.name, id))
            if staged is not None:
                return _at_once(staged)
        if self._loaded:
            key = (collection.name, id)
            if key in self._loaded:
                return _at_once(self._loaded.pop(key))
        return self._documents.get(collection, self.tenant_id, id)

    async def load(self, *wanted: tuple[Collection[Any, ...], str]) -> None:
        """Read several documents in one round trip to the server; the next `get` of each returns it.

        Nothing is read before where the store answers at once.
        """
        documents = self._documents
        if documents.answers_at_once:
            return
        reads = (documents.get(collection, self.tenant_id, id) for collection, id in wanted)
        found = await asyncio.gather(*reads)
        names = [(collection.name, id) for collection, id in wanted]
        self._loaded = {**(self._loaded or {}), **dict(zip(names, found, strict=True))}

    def find(self, collection: Collection[D, ...], query: Query) -> Awaitable[Sequence[D]]:
        """Return a page of the tenant's committed documents; the writes of this unit of work are not in it."""
        return self._documents.find(collection, self.tenant_id, query)

    async def required(self, collection: Collection[D, ...], id: str) -> D:
        """Return the document. Raises Problem `not_found`, also for a document of another tenant."""
        document = await self.get(collection, id)
        if document is None:
            raise Problem("not_found", f"There is no {id}.")
        return document

    async def referenced(self, collection: Collection[D, ...], id: str, pointer: str) -> D:
        """Return the document that a body refers to. Raises Problem `unknown_reference`, which points at the field."""
        document = await self.get(collection, id)
        if document is None:
            raise Problem.at("unknown_reference", pointer, f"{id} is not known.")
        return document

    def history(self, name: str, after: str | None, limit: int) -> Awaitable[Sequence[Envelope]]:
        """Return a page of the tenant's committed events in a history (see Documents.history)."""
        return self._documents.history(self.tenant_id, name, after, limit)

    def insert(self, collection: Collection[D, ...], document: D, *, tenant_id: str | None = None) -> D:
        """Store a new document; the commit is refused when its id exists. Returns the document.

        `tenant_id` stores it under another tenant than this unit's: for a document of the platform that belongs to a
        new tenant (its client). Raises InvalidWrite when the document names a third tenant, or a version other than 1.
        """
        if collection.owner != self._domain:
            raise self._not_owner(collection)
        stored: Any = document
        owner = tenant_id or self.tenant_id
        if stored["tenant_id"] != owner or stored["version"] != 1:
            raise InvalidWrite(f"{collection.name}/{stored['id']} is not a new document of {owner}")
        self.pending.inserts.append((collection, stored))
        if tenant_id is None:
            self._staged[collection.name, stored["id"]] = stored
        return document

    def update(self, collection: Collection[D, P], document: D, /, *_: P.args, **changes: P.kwargs) -> D:
        """Change fields of a document that was read. Return it as it will be stored, except for its version.

        The collection defines the fields that may change, and their types. The commit is refused when the document has
        changed since it was read. Raises InvalidWrite for a field that may not change.
        """
        if collection.owner != self._domain:
            raise self._not_owner(collection)
        collection.refuse_unchangeable(changes)
        stored: Any = {**document, **changes}
        key = (collection.name, stored["id"])
        if key in self._staged:
            self._restage(collection, stored)
        else:
            self.pending.replaces.append((collection, stored))
        self._staged[key] = stored
        return stored  # type: ignore[no-any-return]  # the document with other values of its own fields

    def _restage(self, collection: Collection[Any, ...], stored: dict[str, Any]) -> None:
        for writes in (self.pending.inserts, self.pending.replaces):
            for position, (other, document) in enumerate(writes):
                if other is collection and document["id"] == stored["id"]:
                    writes[position] = (collection, stored)

    def change(
        self,
        collection: Collection[Any, P],
        id: str,
        where: Fields | None = None,
        /,
        *_: P.args,
        **increments: P.kwargs,
    ) -> None:
        """Add to integer fields without reading them first.

        The commit is refused when `where` (see `Collection.where`) or a floor of the collection does not hold.
        """
        if collection.owner != self._domain:
            raise self._not_owner(collection)
        integers: Any = increments
        self.pending.changes.append(Change(collection, id, integers, where or {}))

    def expect(self, collection: Collection[D, ...], document: D) -> None:
        """Refuse the commit when this document, which was read and is not written, has changed by then.

        Use it when the decision depends on the document: when each of two commits writes what the other has read, one
        is refused and its handler runs again. It is expensive on a document that many handlers read, because their
        commits conflict.
        """
        expected = Expectation(collection, document["tenant_id"], document["id"], document["version"])
        self.pending.expects.append(expected)

    def delete(self, collection: Collection[Any, ...], id: str) -> None:
        """Delete a document. A document that does not exist is no error."""
        if collection.owner != self._domain:
            raise self._not_owner(collection)
        self.pending.deletes.append((collection, id))

    def _not_owner(self, collection: Collection[Any, ...]) -> InvalidWrite:
        return InvalidWrite(
            f"a function of {self._domain} may not write {collection.name}: only its owner, {collection.owner}, may"
        )

    # Facts

    def emit(
        self, event: Event, *, event_key: str | None = None, history: str | None = None, **extensions: str
    ) -> Envelope:
        """Publish a fact with the commit. Its id is derived from the cause, the types and the order of emission.

        `event_key` identifies a fact that several runs may publish (a sweep's finding, a retried step): the event's id
        is derived from the key instead, so that its consumers apply it once. `history` is the place by which the event
        can be read again (Documents.history).
        """
        self._facts += 1
        origin, tenant_id, subject, type = self.origin, self.tenant_id, event.subject, event.type
        operation = origin.operation
        attributes = {
            "tenantid": tenant_id,
            "partitionkey": f"{tenant_id}/{subject}",
            "correlationid": origin.correlation_id,
            "traceparent": origin.traceparent,
        }
        if origin.causation_id is not None:
            attributes["causationid"] = origin.causation_id
        if origin.dead_letter_id is not None:
            attributes[DEAD_LETTER_ID] = origin.dead_letter_id
        if extensions:
            attributes.update(extensions)
        if event_key is None:
            id = self._next_event_id(type)
        else:
            id = derived_id("evt", tenant_id, event_key, f"{operation}/{type}")
        envelope = Envelope(
            id, f"/lastro/{operation}", type, subject, self.now_text, attributes, event=event, topic=event.topic
        )
        envelope.repeated, envelope.occurred_at, envelope.history = event_key is not None, self.now, history
        self.publish(envelope)
        return envelope

    def publish(self, envelope: Envelope) -> None:
        """Publish an event unchanged, with the commit."""
        self.pending.events.append(envelope)

    def _next_event_id(self, type: str) -> str:
        """Return the id of the run's next fact. It is the same when the run is repeated for the same cause."""
        number = self._facts & _FACT_NUMBER
        if not self._event_id or not number:
            purpose = f"{self.origin.operation}/{type}/{self._facts}"
            self._event_id = derived_id("evt", self.tenant_id, self.origin.cause_id, purpose)
        # One digest for the whole run: the ids of its facts differ, and increase, in the last twelve bits.
        return f"{self._event_id[:-3]}{number:03x}"


async def _at_once(document: D) -> D | None:
    return document
