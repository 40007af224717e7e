"""The context of a handler: the time, ids, its tenant, its unit of work, and the method that publishes facts."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from shared.context.tenant_secrets import TenantSecrets
from shared.context.unit_of_work import UnitOfWork
from shared.core.clock import format_time
from shared.core.envelope import DEAD_LETTER_ID, Envelope, Event
from shared.core.ids import derived_id
from shared.core.problems import Problem
from shared.ports.documents import Collection, D

if TYPE_CHECKING:
    from shared.context.runtime import Runtime
    from shared.identity.tokens import Caller
    from shared.ports.ledger import LedgerStore
    from shared.ports.rail import Rail

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
    """The id of the dead letter that caused the run; its events carry it, see DEAD_LETTER_ID."""

    @property
    def domain(self) -> str:
        """The domain of the operation, `<domain>/<operation>`: whose collections the run may write."""
        return self.operation.partition("/")[0]


class Context(UnitOfWork):
    """The unit of work of one run of a handler, and all other services that a handler may use.

    `now` is the same during the whole run.
    """

    __slots__ = ("_event_id", "_facts", "caller", "now", "now_text", "origin", "runtime")

    def __init__(self, runtime: Runtime, tenant_id: str, origin: Origin, caller: Caller | None = None) -> None:
        super().__init__(runtime.documents, tenant_id, origin.domain)
        self.runtime = runtime
        self.origin = origin
        self.caller = caller
        self.now = now = runtime.clock.now()
        self.now_text = format_time(now)
        self._facts = 0
        self._event_id = ""

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
        return self.runtime.ledger

    @property
    def rails(self) -> Mapping[str, Rail]:
        """The payment rails, by the name of the provider."""
        return self.runtime.rails

    @property
    def secrets(self) -> TenantSecrets:
        """Sealing for this tenant, and new secrets."""
        return TenantSecrets(self.runtime.secrets, self.runtime.secret_source, self.tenant_id)

    def scope_to(self, tenant_id: str) -> None:
        """Change the tenant of the run: for operations that find the tenant in what they read (callbacks, sweeps).

        Raises RuntimeError when the run has already read or written documents of another tenant.
        """
        pending = self.pending
        if not pending.is_empty:
            raise RuntimeError("a unit of work belongs to one tenant")
        super().__init__(self.runtime.documents, tenant_id, self.origin.domain)
        self.pending.inbox, self._event_id = pending.inbox, ""

    # Ids

    def new_id(self, prefix: str) -> str:
        """Return a new id, ordered by time."""
        return self.runtime.ids.new(prefix)

    def derived_id(self, prefix: str, source_id: str, purpose: str) -> str:
        """Return the id that this purpose always has for this source in this tenant."""
        return derived_id(prefix, self.tenant_id, source_id, purpose)

    # Documents, beside those of UnitOfWork

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

    # Facts

    def emit(
        self,
        event: Event,
        *,
        event_key: str | None = None,
        repeated: bool = True,
        history: str | None = None,
        **extensions: str,
    ) -> Envelope:
        """Publish a fact with the commit. Its id is derived from the cause, the types and the order of emission.

        `event_key` identifies a fact that several runs may publish (a sweep's finding, a retried step): the event's id
        is derived from the key instead, so that its consumers apply it once. `repeated` False promises that the fact
        is published for the first time. `history` is the place by which the event can be read (Documents.history).
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
            repeated = False
            id = self._next_event_id(type)
        else:
            id = derived_id("evt", tenant_id, event_key, f"{operation}/{type}")
        envelope = Envelope(
            id, f"/lastro/{operation}", type, subject, self.now_text, attributes, event=event, topic=event.topic
        )
        envelope.repeated, envelope.occurred_at, envelope.history = repeated, self.now, history
        self.publish(envelope)
        return envelope

    def _next_event_id(self, type: str) -> str:
        """Return the id of the run's next fact: the same again when the run is repeated for its cause."""
        number = self._facts & _FACT_NUMBER
        if not self._event_id or not number:
            purpose = f"{self.origin.operation}/{type}/{self._facts}"
            self._event_id = derived_id("evt", self.tenant_id, self.origin.cause_id, purpose)
        # One digest for the whole run: the ids of its facts differ, and increase, in the last twelve bits.
        return f"{self._event_id[:-3]}{number:03x}"
