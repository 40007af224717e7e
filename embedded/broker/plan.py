"""The wiring, resolved: which event goes to which function, by the manifests and nothing else.

A KafkaSource between a topic and a Broker adds no step here: what it reads is offered to the Broker's Triggers at once.
Where there are several ways between two functions, each is played as the cluster would.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from embedded.broker.delivery import KAFKA_SOURCE_DEFAULT, PING_SOURCE_POLICY, DeliveryError, DeliveryPolicy, policy_of
from embedded.broker.filters import Filter, FilterError, Predicate, compile_filter
from embedded.manifests.loading import ManifestError, Manifests
from embedded.manifests.models import Destination, KafkaSource, PingSource, Service, Trigger
from shared.core.envelope import Envelope

ROUTE: Final = "embeddedroute"
"""Extension attribute under which an event lies in the log when it did not come from its own domain's topic."""
_CLUSTER: Final = ".svc.cluster.local"
_BROKER_INGRESS: Final = "kafka-broker-ingress.knative-eventing"
_KAFKA_SINK_INGRESS: Final = "kafka-sink-ingress.knative-eventing"
_MAX_CACHED_ROUTES: Final = 10_000


@dataclass(frozen=True, slots=True)
class ToService:
    """Events go to a function."""

    name: str
    url: str


@dataclass(frozen=True, slots=True)
class ToBroker:
    """Events go to a Broker's ingress."""

    name: str

    @property
    def url(self) -> str:
        return f"http://{_BROKER_INGRESS}{_CLUSTER}/{self.name}"


@dataclass(frozen=True, slots=True)
class ToTopic:
    """Events go to a topic, by a KafkaSink."""

    topic: str

    @property
    def url(self) -> str:
        return f"http://{_KAFKA_SINK_INGRESS}{_CLUSTER}/{self.topic}"


Target = ToService | ToBroker | ToTopic


@dataclass(slots=True, eq=False)
class Subscription:
    """One way for events to reach one subscriber."""

    name: str
    """`trigger/<name>`, `source/<name>` or `ping/<name>`."""
    filter: Filter
    target: Target
    policy: DeliveryPolicy
    dead_letter: Target | None
    ordered: bool
    replies_to: str | None
    """The Broker that takes the events in answers; None: answers are not read."""
    consumer: str
    """By which name the inbox knows the subscriber; the subscription's own when it is no function."""
    exclusive: bool = True
    """Whether no other subscription leads to this consumer."""


@dataclass(frozen=True, slots=True)
class Route:
    """A subscription that an event of some type reaches when `rest` holds, with extensions that its source adds."""

    subscription: Subscription
    rest: Predicate | None
    overrides: Mapping[str, str] | None


@dataclass(slots=True)
class Plan:
    """Everything the data plane needs to know."""

    services: dict[str, Service] = field(default_factory=dict)
    brokers: dict[str, list[Subscription]] = field(default_factory=dict)
    topics: dict[str, list[tuple[Subscription, Mapping[str, str] | None]]] = field(default_factory=dict)
    pings: dict[str, tuple[PingSource, Subscription]] = field(default_factory=dict)
    _routes: dict[tuple[str, str], tuple[Route, ...]] = field(default_factory=dict)

    @property
    def subscriptions(self) -> list[Subscription]:
        """Each once, in the order of their names."""
        found = {id(s): s for s in (*(s for listed in self.brokers.values() for s in listed), *self._sourced())}
        found |= {id(subscription): subscription for _, subscription in self.pings.values()}
        return sorted(found.values(), key=lambda subscription: subscription.name)

    def _sourced(self) -> list[Subscription]:
        return [subscription for listed in self.topics.values() for subscription, _ in listed]

    def routes(self, envelope: Envelope) -> tuple[Route, ...]:
        """The ways that an event of this origin and type may take; each route's `rest` is still to be asked."""
        origin = envelope.extensions.get(ROUTE) or f"topic/{envelope.topic}"
        key = (origin, envelope.type)
        routes = self._routes.get(key)
        if routes is None:
            if len(self._routes) >= _MAX_CACHED_ROUTES:
                self._routes.clear()
            routes = self._routes[key] = self._resolve(origin, envelope.type)
        return routes

    def _resolve(self, origin: str, type_name: str) -> tuple[Route, ...]:
        kind, _, name = origin.partition("/")
        offered: Sequence[tuple[Subscription, Mapping[str, str] | None]] = ()
        if kind == "topic":
            offered = self.topics.get(name, ())
        elif kind == "broker":
            offered = [(subscription, None) for subscription in self.brokers.get(name, ())]
        return tuple(
            Route(subscription, subscription.filter.rest, overrides)
            for subscription, overrides in offered
            if subscription.filter.admits(type_name)
        )


def route_text(target: ToBroker | ToTopic) -> str:
    """The value of ROUTE for an event that is put into the log for a Broker or a topic."""
    return f"broker/{target.name}" if isinstance(target, ToBroker) else f"topic/{target.topic}"


def make_plan(manifests: Manifests) -> Plan:
    """Resolve the manifests. Raises ManifestError for what leads nowhere or cannot be played."""
    plan = Plan(services=dict(manifests.services), brokers={name: [] for name in manifests.brokers})
    for trigger in manifests.triggers.values():
        _add_trigger(plan, manifests, trigger)
    for source in manifests.sources.values():
        _add_source(plan, manifests, source)
    for ping in manifests.pings.values():
        origin = manifests.origin("PingSource", ping.name)
        target = _target(ping.spec.sink, manifests, f"{origin}: spec.sink")
        subscription = Subscription(
            f"ping/{ping.name}", Filter(), target, PING_SOURCE_POLICY, None, False, None, _consumer(plan, target, "")
        )
        plan.pings[ping.name] = (ping, subscription)
    _mark_shared_consumers(plan)
    return plan


def _add_trigger(plan: Plan, manifests: Manifests, trigger: Trigger) -> None:
    origin = manifests.origin("Trigger", trigger.name)
    broker = manifests.brokers.get(trigger.broker)
    if broker is None:
        raise ManifestError(f"{origin}: spec.broker: there is no Broker {trigger.broker}")
    spec = trigger.spec
    name = f"trigger/{trigger.name}"
    try:
        chosen = compile_filter(spec.filter.attributes if spec.filter else None, spec.filters)
        policy = policy_of(spec.delivery, broker.spec.delivery)
    except (FilterError, DeliveryError) as error:
        raise ManifestError(f"{origin}: spec.{error}") from None
    target = _target(spec.subscriber, manifests, f"{origin}: spec.subscriber")
    plan.brokers[trigger.broker].append(
        Subscription(
            name=name,
            filter=chosen,
            target=target,
            policy=policy,
            dead_letter=_dead_letter(policy, manifests, origin),
            ordered=trigger.ordered,
            replies_to=trigger.broker,
            consumer=_consumer(plan, target, name),
        )
    )


def _add_source(plan: Plan, manifests: Manifests, source: KafkaSource) -> None:
    origin = manifests.origin("KafkaSource", source.name)
    spec = source.spec
    try:
        policy = policy_of(spec.delivery) if spec.delivery is not None else KAFKA_SOURCE_DEFAULT
    except DeliveryError as error:
        raise ManifestError(f"{origin}: spec.{error}") from None
    dead_letter = _dead_letter(policy, manifests, origin)
    target = _target(spec.sink, manifests, f"{origin}: spec.sink")
    overrides = spec.ce_overrides.extensions if spec.ce_overrides and spec.ce_overrides.extensions else None
    if isinstance(target, ToBroker):
        reached = plan.brokers[target.name]
    else:
        name = f"source/{source.name}"
        reached = [
            Subscription(
                name=name,
                filter=Filter(),
                target=target,
                policy=policy,
                dead_letter=dead_letter,
                ordered=spec.ordering == "ordered",
                replies_to=None,
                consumer=_consumer(plan, target, name),
            )
        ]
    for topic in spec.topics:
        if topic not in manifests.topics:
            raise ManifestError(f"{origin}: spec.topics: there is no KafkaTopic {topic}")
        plan.topics.setdefault(topic, []).extend((subscription, overrides) for subscription in reached)


def _dead_letter(policy: DeliveryPolicy, manifests: Manifests, origin: str) -> Target | None:
    if policy.dead_letter_sink is None:
        return None
    return _target(policy.dead_letter_sink, manifests, f"{origin}: spec.delivery.deadLetterSink")


def _target(destination: Destination, manifests: Manifests, where: str) -> Target:
    """What a destination names among the manifests. Raises ManifestError when that is nothing."""
    if destination.ref is not None:
        if destination.uri not in (None, "", "/"):
            raise ManifestError(f"{where}.uri: a path below a ref is not played here; functions answer at /")
        kind, name = destination.ref.kind, destination.ref.name
    else:
        kind, name = _kind_of_uri(destination.uri or "", where)
    if kind == "Service" and name in manifests.services:
        return ToService(name, manifests.services[name].url)
    if kind == "Broker" and name in manifests.brokers:
        return ToBroker(name)
    if kind == "KafkaSink" and name in manifests.sinks:
        return ToTopic(manifests.sinks[name].spec.topic)
    raise ManifestError(f"{where}: there is no {kind} {name}")


def _kind_of_uri(uri: str, where: str) -> tuple[str, str]:
    parts = urlsplit(uri)
    host = parts.hostname or ""
    if parts.scheme not in ("http", "https") or not host.endswith((_CLUSTER, ".svc")):
        raise ManifestError(f"{where}.uri: {uri} is outside the cluster and not played here")
    for ingress, kind in ((_BROKER_INGRESS, "Broker"), (_KAFKA_SINK_INGRESS, "KafkaSink")):
        if host.startswith(ingress + "."):
            return kind, parts.path.rpartition("/")[2]
    if parts.path not in ("", "/"):
        raise ManifestError(f"{where}.uri: a path is not played here; functions answer at /")
    return "Service", host.partition(".")[0]


def _consumer(plan: Plan, target: Target, otherwise: str) -> str:
    return plan.services[target.name].consumer if isinstance(target, ToService) else otherwise


def _mark_shared_consumers(plan: Plan) -> None:
    by_consumer: dict[str, list[Subscription]] = {}
    for subscription in plan.subscriptions:
        by_consumer.setdefault(subscription.consumer, []).append(subscription)
    # A topic that two sources read into one Broker offers each event twice to the same subscription.
    twice = {
        id(subscription)
        for ways in plan.topics.values()
        for subscription, times in Counter(subscription for subscription, _ in ways).items()
        if times > 1
    }
    for listed in by_consumer.values():
        for subscription in listed:
            subscription.exclusive = len(listed) == 1 and id(subscription) not in twice
