"""The data plane on one machine: it delivers events from a log through Triggers to functions, at least once.

The log is that of the embedded store, or Kafka (embedded.broker.kafka_log, docs/decisions/0025). What follows is about
the log of the embedded store.

The log is the only durable state. When the broker's memory is lost, it reads the log again from the low-water mark and
delivers every event for which a consumer has neither an inbox marker nor an acknowledgement. The inbox marker of a
function, in the function's own commit, acknowledges the event. The broker writes an acknowledgement itself only where
there is no marker: after a dead letter, a reply, an event that was forwarded to a topic, and after every delivery when
the markers are in another store than the log.

As on a cluster, an event of a topic that no source reads is not delivered, and a new Trigger starts at the low-water
mark. There are no partitions: order is preserved for each partition key, and delivered events have no
`knativekafkapartition` and `knativekafkaoffset`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from typing import Any, Final

from embedded.broker.admission_queue import AdmissionQueue
from embedded.broker.delivery import ACCEPTED, Answer, Outcome, dead_letter, outcome_of, reply_of
from embedded.broker.fair_queue import FairQueue
from embedded.broker.plan import Plan, Route, Subscription, ToBroker, ToService, ToTopic, route_text
from embedded.broker.progress import Progress
from embedded.broker.state import (
    BrokerSummary,
    Delivery,
    EventLog,
    EventState,
    FunctionState,
    Invoke,
    Limits,
    SubscriptionState,
)
from embedded.broker.timers import Timers
from embedded.broker.workers import Workers
from shared.core.clock import Clock
from shared.core.crash_points import reach
from shared.core.envelope import DEAD_LETTER_ID, ROUTE, Envelope
from shared.ports.documents import PLATFORM, Unavailable

log = logging.getLogger(__name__)
_MARK_EVERY: Final = 256


class UnknownBroker(LookupError):
    """No Broker has this name."""


class Broker:
    """Delivers events. It runs on one event loop, which must be running when `start` is called."""

    def __init__(self, plan: Plan, store: EventLog, clock: Clock, invoke: Invoke, limits: Limits | None = None) -> None:
        self._plan = plan
        self._store = store
        self._has_inbox = store.has_inbox
        self._on_finished = store.on_finished
        self._invoke = invoke
        self._limits = limits or Limits()
        self.timers = Timers(clock)
        self.progress = Progress()
        self._admission = AdmissionQueue(
            self.progress, self._limits.correlations, self._limits.waiting_room, self._limits.patience_seconds
        )
        self._functions = {
            name: FunctionState(name, service.container_concurrency) for name, service in plan.services.items()
        }
        self._subscriptions = {
            subscription: SubscriptionState(subscription, self._function_of(subscription))
            for subscription in (*plan.subscriptions, *plan.unreadable.values())
        }
        self.unwanted: Mapping[str, Callable[[Envelope], bool]] = {}
        """For some consumers: returns whether the consumer would do nothing with an event. It is then not delivered."""
        self._ready: FairQueue[Delivery] = FairQueue()
        self._events: dict[int, EventState] = {}
        self._workers = Workers(self, self._limits.workers, self._limits.slice_seconds)
        self._behind_from: int | None = None
        self._reading: asyncio.Handle | None = None
        self._checked_to = 0
        self._done_since_mark = 0
        self._running = False
        self._held = False
        self._listening = False

    # Start and stop

    async def start(self) -> None:
        """Deliver the events that an earlier process did not finish, then new ones."""
        self._running = True
        if not self._listening:
            self._listening = True
            self._store.subscribe(self._on_logged)
            self._store.on_reset(self._on_reset)
        self._recover()

    async def stop(self, grace_seconds: float = 5.0) -> None:
        """Start no more deliveries and wait for those in flight, at most `grace_seconds`. The rest stays in the log."""
        self._running = False
        self.timers.close()
        if self._reading is not None:
            self._reading.cancel()
        await self._workers.close(grace_seconds)
        self._mark()

    def _recover(self) -> None:
        """Read the log from the low-water mark on. The events found there may have been delivered before."""
        self._checked_to = self._store.head_sequence
        self._behind_from = self._store.low_water_mark
        self._read_on()

    async def withdraw(self, grace_seconds: float) -> None:
        """Give back every event of the log, so that another process may deliver them.

        No more deliveries are started, and those in flight may take `grace_seconds`. The others are cancelled and
        removed. Ticks of schedules stay.
        """
        self._held = True
        try:
            await self._workers.settle(grace_seconds)
        finally:
            ticks = [delivery for delivery in self._waiting() if delivery.event is None]
            self._forget()
            self._held = False
            for tick in ticks:
                tick.subscription.counts.pending += 1
                tick.correlation = None
                self._again(tick)

    def _waiting(self) -> Iterator[Delivery]:
        """Remove the deliveries that are ready, or wait for their function, from the queues."""
        for queue in (self._ready, *(function.waiting for function in self._functions.values())):
            while queue:
                yield queue.take()

    def _on_reset(self) -> None:
        self._forget()
        if self._running:
            self._recover()

    def _forget(self) -> None:
        # Deliveries in flight depend on lost commits, or another process delivers their events. They are cancelled, so
        # that they commit nothing more. The timers of their retries find that the event is forgotten.
        self._workers.abandon()
        self._ready.clear()
        self._events.clear()
        for function in self._functions.values():
            function.in_flight = 0
            function.waiting.clear()
        for state in self._subscriptions.values():
            state.lanes.clear()
            state.counts.pending = 0
        self.progress.clear()

    # Input

    async def publish(self, broker: str, envelope: Envelope) -> None:
        """Store an event for a Broker. It is on disk when this returns. Raises UnknownBroker or Unavailable."""
        if broker not in self._plan.brokers:
            raise UnknownBroker(broker)
        await self._append(envelope, ToBroker(broker))
        await self._store.durable()

    async def send(self, subscription: Subscription, envelope: Envelope) -> None:
        """Deliver an event to one subscription without storing it: a tick of a schedule, which is lost in a crash.

        An event for a Broker or a topic is added to the log.
        """
        target = subscription.target
        if not isinstance(target, ToService):
            await self._append(envelope, target)
            return
        state = self._subscriptions[subscription]
        tenant = envelope.tenant_id or PLATFORM
        correlation = self.progress.began(envelope.correlation_id, 1)
        state.counts.pending += 1
        self._ready.put(tenant, Delivery(state, envelope, None, tenant, correlation, first=False))
        self._workers.wake()

    async def _append(self, envelope: Envelope, target: ToBroker | ToTopic) -> None:
        kept = {name: value for name, value in envelope.extensions.items() if name != ROUTE}
        routed = envelope.with_extensions({})
        routed.extensions = {**kept, ROUTE: route_text(target)}
        await self._store.append(routed)

    def _on_logged(self, first: int, logged: Sequence[Envelope]) -> None:
        if not self._running:
            return
        for sequence, envelope in enumerate(logged, first):
            if self._behind_from is not None:
                return
            if len(self._events) >= self._limits.events_in_memory:
                self._behind_from = sequence
                return
            self._submit(sequence, envelope, first=True)

    def _read_on(self) -> None:
        """Queue a page of the events in the log while there is room, and the next page in the next iteration of the
        event loop."""
        self._reading = None
        if self._behind_from is None or len(self._events) >= self._limits.events_in_memory:
            return
        page = self._store.pending_events(self._behind_from, self._limits.page)
        for item in page:
            # The log does not record whether an event was published before, so a first delivery is not promised.
            self._submit(item.sequence, item.envelope, first=False)
        if len(page) < self._limits.page:
            self._behind_from = None
        else:
            self._behind_from = page[-1].sequence + 1
            self._reading = asyncio.get_running_loop().call_soon(self._read_on)

    def _submit(self, sequence: int, envelope: Envelope, first: bool) -> None:
        """Queue an event's deliveries. If the event may have been delivered before, skip the consumers that have
        finished it."""
        routes = self._plan.routes(envelope)
        # No function but that of webhooks consumes six of a payment's ten events.
        chosen = self._chosen(routes, sequence, envelope) if routes else None
        if not chosen:
            if self._on_finished is not None:
                self._on_finished(sequence)
            return
        extensions = envelope.extensions
        origin = extensions.get(ROUTE)
        if origin is not None:
            envelope = envelope.without_extension(ROUTE)
        event = self._events[sequence] = EventState(sequence, len(chosen), origin)
        tenant = extensions.get("tenantid") or PLATFORM
        correlation = self.progress.began(extensions.get("correlationid") or envelope.id, len(chosen))
        for route in chosen:
            subscription = route.subscription
            state = self._subscriptions[subscription]
            state.counts.pending += 1
            shown = envelope if route.overrides is None else envelope.with_extensions(route.overrides)
            is_first = first and subscription.exclusive and self._has_inbox
            delivery = Delivery(state, shown, event, tenant, correlation, is_first)
            if not subscription.ordered or self._is_head_of_lane(delivery):
                self._ready.put(tenant, delivery)
        self._workers.wake()

    def _chosen(self, routes: tuple[Route, ...], sequence: int, envelope: Envelope) -> list[Route]:
        """Return the routes of an event whose filter matches and whose subscriber has not applied the event yet."""
        chosen = [route for route in routes if route.rest is None or route.rest(envelope)]
        if self.unwanted:
            unwanted = self.unwanted.get
            chosen = [
                route
                for route in chosen
                if (test := unwanted(route.subscription.consumer)) is None or not test(envelope)
            ]
        if chosen and sequence <= self._checked_to:
            return [route for route in chosen if not self._is_done(route.subscription, sequence, envelope)]
        return chosen

    def _is_done(self, subscription: Subscription, sequence: int, envelope: Envelope) -> bool:
        store = self._store
        return store.acknowledged(subscription.consumer, sequence, envelope) or (
            subscription.name != subscription.consumer and store.acknowledged(subscription.name, sequence, envelope)
        )

    def _is_head_of_lane(self, delivery: Delivery) -> bool:
        """Add an ordered delivery to the lane of its key. Return whether it is the first of the lane."""
        key = delivery.lane = delivery.envelope.partition_key
        lanes = delivery.subscription.lanes
        lane = lanes.get(key)
        if lane is None:
            lanes[key] = deque((delivery,))
            return True
        lane.append(delivery)
        return False

    # The methods of a Source of deliveries

    def has_ready(self) -> bool:
        """Return whether a delivery is ready. Always False after the broker has stopped."""
        return self._running and len(self._ready) > 0 and not self._held

    def next_delivery(self) -> Delivery | None:
        """Return the next delivery, tenants in turn; None when none is ready.

        A delivery whose function has reached its concurrency limit is moved to the queue of that function.
        """
        while self._running and self._ready and not self._held:
            delivery = self._ready.take()
            function = delivery.function
            if function is None or not function.limit or function.in_flight < function.limit:
                return delivery
            function.waiting.put(delivery.tenant, delivery)
        return None

    def begin(self, delivery: Delivery) -> Coroutine[Any, Any, Answer | None]:
        """Begin an attempt at a delivery: call its function, or forward the event to its Broker or topic.

        The coroutine returns the function's answer, or None when the event could not be forwarded.
        """
        reach("broker.delivering")
        function = delivery.function
        if function is None:
            return self._forward(delivery)
        function.in_flight += 1
        first, envelope = delivery.first, delivery.envelope
        if first and envelope.repeated:
            # More than one run may publish such an event. Only the store knows whether this is the first time.
            first = not self._store.applied(delivery.subscription.plan.consumer, envelope)
        return self._invoke(function.name, envelope, first)

    def done(self, delivery: Delivery, answer: Answer | None) -> Coroutine[Any, Any, None] | None:
        """Handle the outcome of an attempt: success, retry or dead letter. `answer` is None when there was none.

        A success is handled at once. Otherwise the returned coroutine handles the outcome and must be awaited.
        """
        function = delivery.function
        if function is not None:
            function.in_flight -= 1
            if function.waiting:
                waiting = function.waiting.take()
                self._ready.put(waiting.tenant, waiting)
        reach("broker.delivered")
        if answer is not None and answer.status == 204:
            has_marker = self._has_inbox and function is not None and delivery.dead is None
            self._succeeded(delivery, acknowledge=not has_marker)
            return None
        return self._judge(delivery, answer)

    async def _forward(self, delivery: Delivery) -> Answer | None:
        """Deliver to a Broker's ingress or to a topic, by adding the event to the log again."""
        assert not isinstance(delivery.target, ToService)
        try:
            await self._append(delivery.envelope, delivery.target)
        except Unavailable as error:
            log.warning(
                "event %s cannot be forwarded by %s: %s", delivery.envelope.id, delivery.subscription.plan.name, error
            )
            return None
        return ACCEPTED

    async def _judge(self, delivery: Delivery, answer: Answer | None) -> None:
        plan = delivery.subscription.plan
        replies_to = plan.replies_to if delivery.dead is None else None
        outcome = outcome_of(answer, replies=replies_to is not None)
        if outcome is Outcome.REPLY and answer is not None and replies_to is not None:
            try:
                await self._append(_reply(delivery.envelope, answer), ToBroker(replies_to))
            except Unavailable as error:
                log.warning("the reply of %s cannot be stored: %s", plan.name, error)
                outcome, answer = Outcome.RETRY, None
        if outcome in (Outcome.DONE, Outcome.REPLY):
            self._succeeded(delivery, acknowledge=True)
        elif outcome is Outcome.RETRY and delivery.attempt < plan.policy.retry:
            delivery.attempt += 1
            delivery.subscription.counts.retried += 1
            self._later(delivery, plan.policy.delay_before(delivery.attempt))
        elif delivery.dead is None:
            self._give_up(delivery, outcome, answer)
        else:
            self._sink_refuses(delivery, answer)

    def _give_up(self, delivery: Delivery, outcome: Outcome, answer: Answer | None) -> None:
        state = delivery.subscription
        sink = state.plan.dead_letter
        status = "no answer" if answer is None else answer.status
        if DEAD_LETTER_ID in delivery.envelope.extensions:
            # Parking it would publish another fact about a dead letter, on which this consumer would fail again,
            # without end.
            state.counts.dropped += 1
            name = state.plan.name
            log.error(
                "event %s was caused by a dead letter and is dropped: %s failed with %s",
                delivery.envelope.id,
                name,
                status,
            )
            self._finish(delivery, acknowledge=True)
            return
        if sink is None:
            state.counts.lost += 1
            log.error("event %s is lost: %s; %s has no dead letter sink", delivery.envelope.id, status, state.plan.name)
            self._finish(delivery, acknowledge=True)
            return
        state.counts.dead_lettered += 1
        log.warning("event %s is sent to the dead letter sink of %s: %s", delivery.envelope.id, state.plan.name, status)
        came_back = delivery.envelope.extensions.get("knativeerrordest") == state.plan.target.url
        delivery.envelope = dead_letter(delivery.envelope, state.plan.target.url, outcome, answer)
        if delivery.event is not None and delivery.event.origin is not None:
            # A replay sends the event to the same Broker or topic again, which its source does not name.
            delivery.envelope = delivery.envelope.with_extensions({ROUTE: delivery.event.origin})
        delivery.dead = outcome
        delivery.attempt = 0
        delivery.first = False
        delivery.target = sink
        delivery.function = self._functions[sink.name] if isinstance(sink, ToService) else None
        if came_back:
            # The dead letters of the sink come back to the sink itself. They are delivered once a minute.
            self._later(delivery, self._limits.dead_letter_pause_seconds)
        else:
            self._ready.put(delivery.tenant, delivery)

    def _sink_refuses(self, delivery: Delivery, answer: Answer | None) -> None:
        # Knative commits the offset here, and the event is lost. An event about money must not be dropped: it stays
        # unacknowledged and is delivered again until the sink accepts it (docs/decisions/0008).
        pause = self._limits.dead_letter_pause_seconds
        status = "no answer" if answer is None else answer.status
        name = delivery.subscription.plan.name
        log.error("the dead letter sink of %s refuses %s (%s); it is retried", name, delivery.envelope.id, status)
        self._later(delivery, pause)

    def _later(self, delivery: Delivery, seconds: float) -> None:
        delivery.first = False
        if seconds <= 0:
            self._ready.put(delivery.tenant, delivery)
            self._workers.wake()
            return
        if seconds >= self._limits.long_backoff_seconds:
            self._uncount(delivery)
        self.timers.after(seconds, lambda: self._again(delivery))

    def _again(self, delivery: Delivery) -> None:
        event = delivery.event
        if event is not None and self._events.get(event.sequence) is not event:
            return
        if delivery.correlation is None:
            delivery.correlation = self.progress.began(delivery.envelope.correlation_id, 1)
        self._ready.put(delivery.tenant, delivery)
        self._workers.wake()

    def _uncount(self, delivery: Delivery) -> None:
        correlation, delivery.correlation = delivery.correlation, None
        if correlation is not None:
            self.progress.ended(correlation)

    # Results

    def _succeeded(self, delivery: Delivery, *, acknowledge: bool) -> None:
        if delivery.dead is None:
            delivery.subscription.counts.delivered += 1
        else:
            reach("broker.dead_lettered")
        self._finish(delivery, acknowledge=acknowledge)

    def _finish(self, delivery: Delivery, *, acknowledge: bool) -> None:
        state, event = delivery.subscription, delivery.event
        state.counts.pending -= 1
        if event is not None:
            if acknowledge:
                self._store.acknowledge(event.sequence, state.plan.name)
            event.remaining -= 1
            if event.remaining == 0:
                del self._events[event.sequence]
                if self._on_finished is not None:
                    self._on_finished(event.sequence)
                self._forget_later()
        if delivery.lane is not None:
            lane = state.lanes[delivery.lane]
            lane.popleft()
            if lane:
                self._ready.put(lane[0].tenant, lane[0])
            else:
                del state.lanes[delivery.lane]
        self._uncount(delivery)

    def _forget_later(self) -> None:
        self._done_since_mark += 1
        if self._done_since_mark >= _MARK_EVERY:
            self._mark()
        if (
            self._behind_from is not None
            and self._reading is None
            and len(self._events) <= self._limits.events_in_memory // 2
        ):
            self._reading = asyncio.get_running_loop().call_soon(self._read_on)

    def _mark(self) -> None:
        """Move the low-water mark up to the oldest event that a consumer has not finished."""
        self._done_since_mark = 0
        oldest = next(iter(self._events), None)
        if oldest is None:
            oldest = self._behind_from if self._behind_from is not None else self._store.head_sequence + 1
        self._store.low_water_mark = oldest

    # Queries

    async def admit(self, tenant: str) -> None:
        """Wait in the admission queue while too many requests are in progress. Raises Problem
        `dependency_unavailable`."""
        await self._admission.admit(tenant)

    async def quiet(self, correlation_id: str, timeout_seconds: float) -> bool:
        """Wait until nothing that a request started is in progress. Return False when the timeout passes first."""
        return await self.progress.quiet(correlation_id, timeout_seconds)

    async def idle(self, timeout_seconds: float) -> bool:
        """Wait until nothing is in progress and the log is read. Return False when the timeout passes first."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_seconds
        while self._behind_from is not None or len(self.progress):
            if not await self.progress.idle(deadline - loop.time()):
                return False
            await asyncio.sleep(0)
        return True

    def summary(self) -> BrokerSummary:
        """Return the counts for the command line and for metrics."""
        head = self._store.head_sequence
        return BrokerSummary(
            subscriptions={state.plan.name: state.counts for state in self._subscriptions.values()},
            in_flight={function.name: function.in_flight for function in self._functions.values()},
            ready=len(self._ready),
            events=len(self._events),
            behind=0 if self._behind_from is None else max(0, head + 1 - self._behind_from),
            correlations=len(self.progress),
            waiting_for_admission=self._admission.waiting,
        )

    def _function_of(self, subscription: Subscription) -> FunctionState | None:
        target = subscription.target
        return self._functions[target.name] if isinstance(target, ToService) else None


def _reply(envelope: Envelope, answer: Answer) -> Envelope:
    """Return the event in a response. It is marked as caused by a dead letter when the delivered event is."""
    reply, dead_letter_id = reply_of(answer), envelope.extensions.get(DEAD_LETTER_ID)
    return reply if dead_letter_id is None else reply.with_extensions({DEAD_LETTER_ID: dead_letter_id})
