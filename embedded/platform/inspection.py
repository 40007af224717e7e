"""The state of the platform: readiness, functions, events, metrics, and the OpenAPI document."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

import orjson

from embedded.broker.broker import Broker, UnknownBroker
from embedded.broker.plan import Plan, Subscription, ToService
from embedded.functions.scaling import Functions
from embedded.gateway.gateway import Upstream
from embedded.manifests.serving import Service
from embedded.platform.metrics import exposition, lag_exposition
from shared.adapters.sqlite.store import SqliteStore
from shared.context.runtime import Runtime
from shared.core.envelope import Envelope
from shared.core.problems import Problem
from shared.core.version import VERSION
from shared.http.openapi import describe
from shared.http.operation import HttpOperation
from shared.ports.documents import PLATFORM

if TYPE_CHECKING:
    from embedded.broker.kafka_log import KafkaLog


class State(Protocol):
    """Whether the platform can serve now."""

    async def reason(self) -> str | None:
        """Return why it cannot, or None."""
        ...

    def impairments(self) -> list[str]:
        """Return what does not work while it can."""
        ...


class Inspection:
    """Reads the state of the platform's parts for the gateway's own paths."""

    def __init__(
        self,
        runtime: Runtime,
        store: SqliteStore,
        broker: Broker,
        functions: Functions,
        plan: Plan,
        upstreams: dict[str, Upstream],
        state: State,
        *,
        token_url: str,
        log_on_kafka: KafkaLog | None = None,
    ) -> None:
        """`token_url` is the URL of the issuer's token endpoint."""
        self._token_url = token_url
        self._runtime = runtime
        self._store = store
        self._broker = broker
        self._functions = functions
        self._plan = plan
        self._upstreams = upstreams
        self._state = state
        self._log_on_kafka = log_on_kafka
        self._openapi: bytes | None = None

    async def ready(self) -> str | None:
        """Return why the platform cannot serve now, or None when it can."""
        return await self._state.reason()

    def impairments(self) -> list[str]:
        """Return what does not work at present while the platform can serve."""
        return self._state.impairments()

    async def openapi(self) -> bytes:
        """Return the OpenAPI document. It is made once, because describing an operation loads its function."""
        if self._openapi is None:
            names = dict.fromkeys(upstream.service for upstream in self._upstreams.values())
            operations = [self._functions.operation(name) for name in names]
            document = describe(
                [operation for operation in operations if isinstance(operation, HttpOperation)],
                base_url=self._runtime.settings.base_url,
                token_url=self._token_url,
                version=VERSION,
            )
            self._openapi = orjson.dumps(document)
        return self._openapi

    def functions(self) -> list[dict[str, Any]]:
        """Return every function: state, routes and triggers, calls, and the counts of its subscriptions."""
        summary = self._broker.summary()
        subscriptions: dict[str, list[Subscription]] = {}
        for subscription in self._plan.subscriptions:
            if isinstance(subscription.target, ToService):
                subscriptions.setdefault(subscription.target.name, []).append(subscription)
        found = []
        for status in self._functions.status():
            counts = [summary.subscriptions[way.name] for way in subscriptions.get(status.service, ())]
            service: Service = self._plan.services[status.service]
            found.append(
                {
                    "service": status.service,
                    "function": status.consumer,
                    "source": service.source,
                    "scale": status.scale_class,
                    "state": status.state,
                    "ways_in": [_readable(way) for way in status.ways_in],
                    "calls": status.calls,
                    "in_flight": status.in_flight,
                    "loads": status.loads,
                    "delivered": sum(count.delivered for count in counts),
                    "retried": sum(count.retried for count in counts),
                    "dead_lettered": sum(count.dead_lettered for count in counts),
                    "pending": sum(count.pending for count in counts),
                    "lag": self._lag(subscriptions.get(status.service, ())),
                }
            )
        return found

    def _lag(self, subscriptions: Sequence[Subscription]) -> int:
        """Return the number of unfinished events in the partitions of Kafka that this process reads, in all topics that
        lead to these subscriptions."""
        if self._log_on_kafka is None:
            return 0
        topics = self._plan.topics_to(subscriptions)
        return sum(number for (topic, _), number in self._log_on_kafka.lag().items() if topic in topics)

    async def events(self, after: int, limit: int, tenant_id: str) -> tuple[list[tuple[int, Envelope]], int]:
        """Return a tenant's events after a position in the log, oldest first, and the position up to which the log was
        read.

        Without a tenant, return the events that belong to the platform.
        """
        self._require_own_log()
        wanted = None if tenant_id == PLATFORM else tenant_id
        page = self._store.event_log(after, limit, tenant=wanted)
        found = [
            (item.sequence, item.envelope) for item in page.events if (item.envelope.tenant_id or PLATFORM) == tenant_id
        ]
        return found, page.read_to

    def last_place(self) -> int:
        """Return the position of the newest event on disk."""
        self._require_own_log()
        return self._store.durable_sequence

    def _require_own_log(self) -> None:
        if self._log_on_kafka is not None:
            raise Problem(
                "not_found", "The events of this platform are on Kafka: read them with `lastro events tail` there."
            )

    async def publish(self, broker: str, envelope: Envelope) -> None:
        """Send an event to a Broker; it is on disk on return. Raises Problem `not_found`, or Unavailable."""
        try:
            await self._broker.publish(broker, envelope)
        except UnknownBroker:
            raise Problem("not_found", f"There is no Broker {broker}.") from None

    def metrics(self) -> str:
        """Return the metrics in Prometheus' text format."""
        store = self._store
        gauges = {
            "store_batches": float(store.batches),
            "store_generation": float(store.generation),
            "store_document_misses": float(store.document_misses),
            "log_head": float(store.head_sequence),
            "log_durable": float(store.durable_sequence),
        }
        text = exposition(self._runtime.telemetry, self._broker.summary(), gauges)
        if self._log_on_kafka is not None:
            text += lag_exposition(self._log_on_kafka.group, self._log_on_kafka.lag())
        return text


_PARAMETER: Final = re.compile(r"\(\?P?<([A-Za-z_]\w*)>\[\^/\]\+\)")


def _readable(way: str) -> str:
    """Return a route with its regular expression replaced by the path template."""
    return _PARAMETER.sub(r"{\1}", way).removesuffix("$")
