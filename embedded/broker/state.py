"""What the broker keeps in memory: deliveries, their events, and counts."""

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
from shared.ports.documents import Documents

Invoke = Callable[[str, Envelope, bool], Coroutine[Any, Any, Answer]]
"""Called with a Service's name, an event, and whether its function is promised never to have had it before.
Raises anything for a network error."""


class EventLog(Protocol):
    """What the broker needs of the store: the log, which is also the outbox, and which consumer has finished what."""

    @property
    def documents(self) -> Documents:
        """The documents port of the same store."""
        ...

    @property
    def head_sequence(self) -> int:
        """The last sequence number that was given."""
        ...

    low_water_mark: int

    def subscribe(self, listener: Callable[[int, Sequence[Envelope]], None]) -> None:
        """Call the listener with each commit's events right after the commit, and the first one's sequence number."""
        ...

    def on_reset(self, callback: Callable[[], None]) -> None:
        """Call back when events that were not on disk have been lost."""
        ...

    def acknowledge(self, sequence: int, consumer: str) -> None:
        """Record that a consumer has finished an event without an inbox marker."""
        ...

    def applied(self, consumer: str, envelope: Envelope) -> bool:
        """Whether a consumer has applied an event: its inbox marker is there."""
        ...

    def acknowledged(self, consumer: str, sequence: int, envelope: Envelope) -> bool:
        """Return whether there is a marker or an acknowledgement."""
        ...

    def pending_events(self, from_sequence: int, limit: int) -> Sequence[Any]:
        """Return events from a sequence number on, oldest first; fewer than `limit` are the last ones."""
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """The broker's bounds. Times in seconds."""

    workers: int = 256
    """Deliveries that may be suspended at once (waiting for a provider, say)."""
    events_in_memory: int = 20_000
    """At this number the broker stops queueing and reads on from the log when there is room."""
    page: int = 256
    slice_seconds: float = 0.002
    """A worker gives the event loop a turn after this time."""
    long_backoff_seconds: float = 1.0
    """A retry that is at least this far away does not count as in progress."""
    dead_letter_pause_seconds: float = 60.0
    """Time between deliveries of a dead letter that its sink refuses."""
    correlations: int = 300
    waiting_room: int = 10_000
    patience_seconds: float = 10.0


@dataclass(slots=True)
class Counts:
    """A subscription's counts since the start."""

    delivered: int = 0
    retried: int = 0
    dead_lettered: int = 0
    lost: int = 0
    """Given up without a dead letter sink (a schedule's tick)."""
    dropped: int = 0
    """Given up and not parked, because it comes of a dead letter."""
    pending: int = 0
    """Waiting, in flight or backing off now: its lag."""


class EventState:
    """A logged event that some consumer has not finished."""

    __slots__ = ("origin", "remaining", "sequence")

    def __init__(self, sequence: int, remaining: int, origin: str | None) -> None:
        self.sequence = sequence
        self.remaining = remaining
        self.origin = origin
        """Its plan.ROUTE: set when it was not published to its own domain's topic."""


class Delivery:
    """One event on its way to one subscriber, or to the dead letter sink behind it."""

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
        """None for an event that is not in the log (a schedule's tick)."""
        self.tenant = tenant
        self.correlation = correlation
        """Where it is counted as in progress; None while it is not."""
        self.first = first
        self.function = subscription.function
        self.target: Target = subscription.plan.target
        self.attempt = 0
        self.dead: Outcome | None = None
        """Why it goes to the dead letter sink; None while it goes to the subscriber."""
        self.lane: str | None = None


class FunctionState:
    """A Service's deliveries at this moment."""

    __slots__ = ("in_flight", "limit", "name", "waiting")

    def __init__(self, name: str, limit: int) -> None:
        self.name = name
        self.limit = limit
        self.in_flight = 0
        self.waiting: FairQueue[Delivery] = FairQueue()
        """Deliveries that its containerConcurrency holds back."""


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
    """The broker at this moment."""

    subscriptions: Mapping[str, Counts]
    in_flight: Mapping[str, int]
    ready: int
    events: int
    behind: int
    correlations: int
    waiting_for_admission: int
