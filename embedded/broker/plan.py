"""The subscriptions and routes that result from the manifests: which events each function receives.

A KafkaSource between a topic and a Broker adds no step here: its events are offered to the Broker's Triggers directly.
When several subscriptions lead from one function to another, each of them delivers, as on a cluster.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from embedded.broker.delivery import PING_SOURCE_POLICY, DeliveryPolicy, policy_of
from embedded.broker.filters import Filter, Predicate, compile_filter
from embedded.manifests.eventing import Broker, DeliverySpec, PingSource, Trigger
from embedded.manifests.findings import FieldError, Finding, ManifestError
from embedded.manifests.kafka import KafkaSource
from embedded.manifests.loading import KINDS, Manifests
from embedded.manifests.resource import Destination, Reference, Resource
from embedded.manifests.serving import Service
from shared.core.envelope import ROUTE, Envelope

_CLUSTER: Final = ".svc.cluster.local"
_BROKER_INGRESS: Final = "kafka-broker-ingress.knative-eventing"
_KAFKA_SINK_INGRESS: Final = "kafka-sink-ingress.knative-eventing"
_MAX_CACHED_ROUTES: Final = 10_000
_KINDS_OF_WAYS: Final = {"trigger": "Trigger", "source": "KafkaSource", "ping": "PingSource"}
UNREADABLE: Final = "unreadable"
"""`unreadable/<topic>` is the origin of an event that replaces an unreadable record."""


@dataclass(frozen=True, slots=True)
class ToService:
    """Events go to the function of a Service, at its URL on a cluster."""

    name: str
    url: str


@dataclass(frozen=True, slots=True)
class ToBroker:
    """Events are sent to the ingress of a Broker."""

    name: str

    @property
    def url(self) -> str:
        """The address of the Broker's ingress on a cluster, for the headers of a dead letter."""
        return f"http://{_BROKER_INGRESS}{_CLUSTER}/{self.name}"


@dataclass(frozen=True, slots=True)
class ToTopic:
    """Events are sent to a topic, through a KafkaSink."""

    topic: str

    @property
    def url(self) -> str:
        """The address of the KafkaSink on a cluster, for the headers of a dead letter."""
        return f"http://{_KAFKA_SINK_INGRESS}{_CLUSTER}/{self.topic}"


Target = ToService | ToBroker | ToTopic


@dataclass(slots=True, eq=False)
class Subscription:
    """One way by which events reach one subscriber."""

    name: str
    """`trigger/<name>`, `source/<name>`, `ping/<name>` or `unreadable/<topic>`."""
    filter: Filter
    target: Target
    policy: DeliveryPolicy
    dead_letter: Target | None
    ordered: bool
    replies_to: str | None
    """The Broker that receives the events in responses. None: responses are not read."""
    consumer: str
    """The name of the subscriber in the inbox, or the name of the subscription when the subscriber is not a
    function."""
    exclusive: bool = True
    """Whether no other subscription leads to this consumer."""

    @property
    def resource(self) -> tuple[str, str]:
        """The kind and name of the resource that defines the subscription."""
        kind, _, name = self.name.partition("/")
        return _KINDS_OF_WAYS[kind], name


@dataclass(frozen=True, slots=True)
class Route:
    """A subscription that receives events of some type when `rest` matches, with the extensions that its source
    adds."""

    subscription: Subscription
    rest: Predicate | None
    overrides: Mapping[str, str] | None


@dataclass(slots=True)
class Plan:
    """The result of resolving the manifests: all that the broker needs."""

    services: dict[str, Service] = field(default_factory=dict)
    brokers: dict[str, list[Subscription]] = field(default_factory=dict)
    topics: dict[str, list[tuple[Subscription, Mapping[str, str] | None]]] = field(default_factory=dict)
    pings: dict[str, tuple[PingSource, Subscription]] = field(default_factory=dict)
    topics_of_brokers: set[str] = field(default_factory=set)
    """The topics that a KafkaSource reads into a Broker."""
    broker_topics: dict[str, str] = field(default_factory=dict)
    """The Broker whose own topic on Kafka has this name. The embedded log has no such topics."""
    unreadable: dict[str, Subscription] = field(default_factory=dict)
    """Where a record goes that is no event, by the topic that it was read from: to the dead letters. The embedded log
    has events only."""
    unreadable_targets: dict[str, Target] = field(default_factory=dict)
    """The sink for which the record was intended."""
    _routes: dict[tuple[str, str], tuple[Route, ...]] = field(default_factory=dict)

    @property
    def subscriptions(self) -> list[Subscription]:
        """All subscriptions, ordered by name."""
        found = {id(s): s for s in (*(s for listed in self.brokers.values() for s in listed), *self._sourced())}
        found |= {id(subscription): subscription for _, subscription in self.pings.values()}
        return sorted(found.values(), key=lambda subscription: subscription.name)

    def _sourced(self) -> list[Subscription]:
        return [subscription for listed in self.topics.values() for subscription, _ in listed]

    def topics_to(self, subscriptions: Sequence[Subscription]) -> set[str]:
        """Return the topics on Kafka whose events can reach one of these subscriptions."""
        found = {topic for topic, ways in self.topics.items() if any(way in subscriptions for way, _ in ways)}
        return found | {
            topic
            for topic, broker in self.broker_topics.items()
            if any(way in subscriptions for way in self.brokers[broker])
        }

    def routes(self, envelope: Envelope) -> tuple[Route, ...]:
        """Return the routes for an event of this origin and type; the caller still evaluates each route's `rest`."""
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
        if kind == UNREADABLE:
            return (Route(self.unreadable[name], None, None),)
        if kind == "topic" and name in self.broker_topics:
            kind, name = "broker", self.broker_topics[name]
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
    """Return the value of ROUTE for an event that is sent to a Broker or a topic."""
    return f"broker/{target.name}" if isinstance(target, ToBroker) else f"topic/{target.topic}"


def make_plan(manifests: Manifests) -> Plan:
    """Resolve the manifests. Raises ManifestError with every invalid reference and every unsupported field."""
    plan = Plan(services=dict(manifests.services), brokers={name: [] for name in manifests.brokers})
    findings: list[Finding] = []
    for trigger in manifests.triggers.values():
        with _noting(findings, manifests, "Trigger", trigger.name):
            _add_trigger(plan, manifests, trigger)
    for source in manifests.sources.values():
        with _noting(findings, manifests, "KafkaSource", source.name):
            _add_source(plan, manifests, source)
    for ping in manifests.pings.values():
        with _noting(findings, manifests, "PingSource", ping.name):
            _add_ping(plan, manifests, ping)
    for broker in manifests.brokers.values():
        _add_broker_topic(plan, broker)
    findings += _dead_letters_that_end_nowhere(plan, manifests)
    if findings:
        raise ManifestError(findings)
    _mark_shared_consumers(plan)
    return plan


@contextmanager
def _noting(findings: list[Finding], manifests: Manifests, kind: str, name: str) -> Iterator[None]:
    try:
        yield
    except FieldError as error:
        findings.append(manifests.places[kind, name].error(error, "spec"))


def _add_trigger(plan: Plan, manifests: Manifests, trigger: Trigger) -> None:
    spec = trigger.spec
    broker = manifests.brokers.get(trigger.broker)
    if broker is None or broker.namespace != trigger.namespace:
        field = "broker" if spec.broker_ref is None else "brokerRef"
        raise FieldError(f"there is no Broker {trigger.broker} in the namespace {trigger.namespace}", field)
    if spec.broker_ref is not None:
        _check_reference(spec.broker_ref, broker, trigger.namespace, "brokerRef")
    name = f"trigger/{trigger.name}"
    delivery = spec.delivery or broker.spec.delivery
    reason = (
        "the Trigger's own delivery replaces its Broker's and has no deadLetterSink: an event that fails would be lost"
        if spec.delivery is not None
        else f"neither the Trigger nor its Broker {broker.name} has a deadLetterSink: an event that fails would be lost"
    )
    dead_letter = _dead_letter(delivery, manifests, trigger.namespace, reason)
    target = _target(spec.subscriber, manifests, trigger.namespace, "subscriber")
    assert delivery is not None, "without one there is no dead letter sink"
    plan.brokers[trigger.broker].append(
        Subscription(
            name=name,
            filter=compile_filter(spec.filter.attributes if spec.filter else None, spec.filters or []),
            target=target,
            policy=policy_of(delivery),
            dead_letter=dead_letter,
            ordered=trigger.ordered,
            replies_to=trigger.broker,
            consumer=_consumer(plan, target, name),
        )
    )


def _add_source(plan: Plan, manifests: Manifests, source: KafkaSource) -> None:
    spec = source.spec
    reason = "a KafkaSource needs a deadLetterSink: an event that fails would be lost"
    dead_letter = _dead_letter(spec.delivery, manifests, source.namespace, reason)
    assert spec.delivery is not None, "without one there is no dead letter sink"
    target = _target(spec.sink, manifests, source.namespace, "sink")
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
                policy=policy_of(spec.delivery),
                dead_letter=dead_letter,
                ordered=spec.ordering == "ordered",
                replies_to=None,
                consumer=_consumer(plan, target, name),
            )
        ]
    for position, topic in enumerate(spec.topics):
        if topic not in manifests.topics:
            raise FieldError(f"there is no KafkaTopic {topic}", "topics", position)
        plan.topics.setdefault(topic, []).extend((subscription, overrides) for subscription in reached)
        _add_unreadable(plan, topic, target, policy_of(spec.delivery), dead_letter)
        if isinstance(target, ToBroker):
            plan.topics_of_brokers.add(topic)


def _add_broker_topic(plan: Plan, broker: Broker) -> None:
    plan.broker_topics[broker.topic] = broker.name
    triggers = plan.brokers[broker.name]
    if triggers and triggers[0].dead_letter is not None:
        _add_unreadable(plan, broker.topic, ToBroker(broker.name), triggers[0].policy, triggers[0].dead_letter)


def _add_unreadable(plan: Plan, topic: str, target: Target, policy: DeliveryPolicy, dead_letter: Target) -> None:
    """Send the unreadable records of a topic to the dead letters, until these accept them.

    Knative's KafkaSource would wrap such a record and deliver it, and its Broker would drop it.
    """
    name = f"{UNREADABLE}/{topic}"
    consumer = _consumer(plan, dead_letter, name)
    plan.unreadable[topic] = Subscription(
        name, Filter(), dead_letter, policy, dead_letter, ordered=False, replies_to=None, consumer=consumer
    )
    plan.unreadable_targets[topic] = target


def _add_ping(plan: Plan, manifests: Manifests, ping: PingSource) -> None:
    target = _target(ping.spec.sink, manifests, ping.namespace, "sink")
    subscription = Subscription(
        f"ping/{ping.name}", Filter(), target, PING_SOURCE_POLICY, None, False, None, _consumer(plan, target, "")
    )
    plan.pings[ping.name] = (ping, subscription)


def _dead_letter(delivery: DeliverySpec | None, manifests: Manifests, namespace: str, missing: str) -> Target:
    path = ("delivery", "deadLetterSink")
    if delivery is None or delivery.dead_letter_sink is None:
        raise FieldError(missing, *path)
    target = _target(delivery.dead_letter_sink, manifests, namespace, *path)
    if isinstance(target, ToBroker):
        raise FieldError(
            f"dead letters may not go to a Broker: {target.name} would deliver the event to the same functions again",
            *path,
        )
    return target


def _dead_letters_that_end_nowhere(plan: Plan, manifests: Manifests) -> Iterator[Finding]:
    """Check that each topic of dead letters is read, and not into a Broker, whose Triggers would get the events
    again."""
    for subscription in plan.subscriptions:
        sink = subscription.dead_letter
        if not isinstance(sink, ToTopic):
            continue
        kind, name = subscription.resource
        path = ("spec", "delivery", "deadLetterSink")
        if not plan.topics.get(sink.topic):
            reason = f"no KafkaSource reads the topic {sink.topic}: its dead letters would be lost"
            yield manifests.finding(kind, name, reason, *path)
        elif sink.topic in plan.topics_of_brokers:
            reason = f"a KafkaSource brings the topic {sink.topic} to a Broker, which would deliver dead letters again"
            yield manifests.finding(kind, name, reason, *path)


def _target(destination: Destination, manifests: Manifests, namespace: str, *path: str) -> Target:
    """Return the target that a destination names. Raises FieldError when no manifest defines it."""
    ref = destination.ref
    if ref is not None:
        if destination.uri not in (None, "", "/"):
            raise FieldError("a path below a ref is not supported here; functions answer at /", *path, "uri")
        kind, name = ref.kind, ref.name
    else:
        kind, name = _kind_of_uri(destination.uri or "", *path)
    target: Target
    resource: Resource
    if kind == "Service" and name in manifests.services:
        resource = service = manifests.services[name]
        target = ToService(name, service.url)
    elif kind == "Broker" and name in manifests.brokers:
        resource, target = manifests.brokers[name], ToBroker(name)
    elif kind == "KafkaSink" and name in manifests.sinks:
        resource = sink = manifests.sinks[name]
        target = ToTopic(sink.spec.topic)
    else:
        raise FieldError(f"there is no {kind} {name}", *path)
    if ref is not None:
        _check_reference(ref, resource, namespace, *path, "ref")
    elif isinstance(target, ToService) and not target.url.removeprefix("http://").startswith(_host(destination)):
        raise FieldError(f"{destination.uri} is not the address of {name}, which is {target.url}", *path, "uri")
    return target


def _host(destination: Destination) -> str:
    return urlsplit(destination.uri or "").hostname or ""


def _check_reference(ref: Reference, resource: Resource, namespace: str, *path: str) -> None:
    """Raise FieldError unless a reference is to this resource: a served version, and the same namespace."""
    group, _, version = ref.api_version.rpartition("/")
    known = KINDS.get((group, ref.kind))
    if ref.kind != resource.kind or known is None or version not in known.versions:
        raise FieldError(f"{ref.api_version} {ref.kind} is not what {resource.name} is: {resource.api_version}", *path)
    wanted = ref.namespace or namespace
    if wanted != resource.namespace:
        raise FieldError(
            f"{resource.kind} {resource.name} is in the namespace {resource.namespace}, not {wanted}", *path
        )


def _kind_of_uri(uri: str, *path: str) -> tuple[str, str]:
    parts = urlsplit(uri)
    host = parts.hostname or ""
    if parts.scheme not in ("http", "https") or not host.endswith((_CLUSTER, ".svc")):
        raise FieldError(f"{uri} is outside the cluster, which is not supported here", *path, "uri")
    for ingress, kind in ((_BROKER_INGRESS, "Broker"), (_KAFKA_SINK_INGRESS, "KafkaSink")):
        if host.startswith(ingress + "."):
            return kind, parts.path.rpartition("/")[2]
    if parts.path not in ("", "/"):
        raise FieldError("a path is not supported here; functions answer at /", *path, "uri")
    return "Service", host.partition(".")[0]


def _consumer(plan: Plan, target: Target, otherwise: str) -> str:
    return plan.services[target.name].consumer if isinstance(target, ToService) else otherwise


def _mark_shared_consumers(plan: Plan) -> None:
    by_consumer: dict[str, list[Subscription]] = {}
    for subscription in plan.subscriptions:
        by_consumer.setdefault(subscription.consumer, []).append(subscription)
    # A topic that two sources read into one Broker has each event delivered twice to the same subscription.
    twice = {
        id(subscription)
        for ways in plan.topics.values()
        for subscription, times in Counter(subscription for subscription, _ in ways).items()
        if times > 1
    }
    for listed in by_consumer.values():
        for subscription in listed:
            subscription.exclusive = len(listed) == 1 and id(subscription) not in twice
