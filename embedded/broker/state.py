"""The broker's state in memory: deliveries, their events, and counts."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from embedded.broker.delivery import Answer, Outcome
from embedded.broker.fair_queue import FairQueue
from embedded.broker.plan import Subscription, Target
from embedded.broker.progress import Correlation
from shared.core.envelope import Envelope

Invoke = Callable[[str, Envelope, bool], Coroutine[Any, Any, Answer]]
"""Called with a Service's name, an event, and whether the function has certainly never received it before. Any
exception counts as a network error."""


class EventLog(Protocol):
    """The source and destination of the broker's events, and the record of finished events: the log of the embedded
    store, which is also its outbox, or Kafka (embedded.broker.kafka_log)."""

    @property
    def head_sequence(self) -> int:
        """The sequence number of the newest event."""
        ...

    @property
    def has_inbox(self) -> bool:
        """Whether the inbox markers of the functions are in this store, in the commits whose events are in the log.

        Otherwise the broker acknowledges each delivery, and does not promise a function that an event is new to it.
        """
        ...

    low_water_mark: int

    @property
    def on_finished(self) -> Callable[[int], None] | None:
        """Called with the sequence number of each event that all its consumers have finished, or that has none. None:
        the log does not need to know."""
        ...

    async def append(self, envelope: Envelope) -> None:
        """Add an event that its attribute ROUTE sends to a Broker or a topic. Raises Unavailable."""
        ...

    async def durable(self) -> None:
        """Wait until all appended events survive a crash. Raises Unavailable."""
        ...

    def subscribe(self, listener: Callable[[int, Sequence[Envelope]], None]) -> None:
        """Call the listener after each commit, with its events and the sequence number of the first."""
        ...

    def on_reset(self, callback: Callable[[], None]) -> None:
        """Call `callback` when commits are accepted again after they were refused, or events were lost."""
        ...

    def acknowledge(self, sequence: int, consumer: str) -> None:
        """Record that a consumer has finished an event without an inbox marker."""
        ...

    def applied(self, consumer: str, envelope: Envelope) -> bool:
        """Return whether a consumer has applied an event (inbox marker)."""
        ...

    def acknowledged(self, consumer: str, sequence: int, envelope: Envelope) -> bool:
        """Return whether there is a marker or an acknowledgement."""
        ...

    def pending_events(self, from_sequence: int, limit: int) -> Sequence[Any]:
        """Return events from a sequence number on, oldest first. Fewer than `limit` means that the log is read to its
        end."""
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """The broker's bounds. Times are in seconds."""

    workers: int = 256
    """The most deliveries that may be suspended at once, for example while they wait for a provider."""
    events_in_memory: int = 20_000
    """At this number of events in memory the broker stops queueing. It continues from the log when there is room."""
    page: int = 256
    slice_seconds: float = 0.002
    """A worker yields to the event loop after this time."""
    long_backoff_seconds: float = 1.0
    """A retry that is at least this far away does not count as in progress."""
    dead_letter_pause_seconds: float = 60.0
    """The time between deliveries of a dead letter that its sink refuses."""
    correlations: int = 300
    waiting_room: int = 10_000
    patience_seconds: float = 10.0


@dataclass(slots=True)
class Counts:
    """The counts of a subscription since the start."""

    delivered: int = 0
    retried: int = 0
    dead_lettered: int = 0
    lost: int = 0
    """Failed deliveries without a dead letter sink (ticks of a schedule)."""
    dropped: int = 0
    """Failed deliveries that were dropped, because a dead letter caused the event."""
    pending: int = 0
    """Deliveries that wait, are in flight, or wait for a retry: the lag of the subscription."""


class EventState:
    """A logged event that some consumer has not finished."""

    __slots__ = ("origin", "remaining", "sequence")

    def __init__(self, sequence: int, remaining: int, origin: str | None) -> None:
        self.sequence = sequence
        self.remaining = remaining
        self.origin = origin
        """The value of its attribute ROUTE: set when it was not published to the topic of its own domain."""


class Delivery:
    """One event for one subscriber, or for the subscriber's dead letter sink."""

    __slots__ = (
        "attempt",
        "correlation",
        "dead",
        "envelope",
        "event",
        "first",
        "function",
        "lane",
        "subscription",
        "target",
        "tenant",
    )

    def __init__(
        self,
        subscription: SubscriptionState,
        envelope: Envelope,
        event: EventState | None,
        tenant: str,
        correlation: Correlation | None,
        first: bool,
    ) -> None:
        self.subscription = subscription
        self.envelope = envelope
        self.event = event
        """None for an event that is not in the log (a tick of a schedule)."""
        self.tenant = tenant
        self.correlation = correlation
        """The correlation in which it is counted as in progress; None while it is not counted."""
        self.first = first
        self.function = subscription.function
        self.target: Target = subscription.plan.target
        self.attempt = 0
        self.dead: Outcome | None = None
        """The reason why it is sent to the dead letter sink; None while it is sent to the subscriber."""
        self.lane: str | None = None


class FunctionState:
    """The present deliveries of a Service."""

    __slots__ = ("in_flight", "limit", "name", "waiting")

    def __init__(self, name: str, limit: int) -> None:
        self.name = name
        self.limit = limit
        self.in_flight = 0
        self.waiting: FairQueue[Delivery] = FairQueue()
        """Deliveries that wait because containerConcurrency is reached."""


class SubscriptionState:
    """A subscription with its counts and, when it is ordered, its lanes."""

    __slots__ = ("counts", "function", "lanes", "plan")

    def __init__(self, plan: Subscription, function: FunctionState | None) -> None:
        self.plan = plan
        self.function = function
        self.counts = Counts()
        self.lanes: dict[str, deque[Delivery]] = {}


@dataclass(frozen=True, slots=True)
class BrokerSummary:
    """The present state of the broker."""

    subscriptions: Mapping[str, Counts]
    in_flight: Mapping[str, int]
    ready: int
    events: int
    behind: int
    correlations: int
    waiting_for_admission: int
