"""Every function has a way in, and every way in leads to a function that takes what comes by it."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, get_args

from embedded.broker.plan import Plan, Subscription, ToService, ToTopic
from embedded.manifests.eventing import Trigger
from embedded.manifests.kafka import KafkaSource
from embedded.manifests.kong import KongRoute
from embedded.manifests.loading import Manifests
from events.catalogue import CATALOGUE
from events.sweeps import Tick
from shared.core.envelope import Event
from shared.functions.operation import Operation
from shared.http.operation import HttpOperation
from shared.messaging.operation import EventOperation

if TYPE_CHECKING:
    from tests.wiring.conftest import House

# What a fact's data calls its cause; in the extension attribute it is `causetype`.
CAUSE_FIELDS = {"cause_type", "saga_type"}
_GROUP = re.compile(r"\(\?<([a-z_]+)>\[\^/\]\+\)")


def template(route: KongRoute) -> str:
    """The path that a route's expression stands for, with its groups as `{parameters}`."""
    (path,) = route.paths
    assert path.startswith("~/")
    assert path.endswith("$")
    return _GROUP.sub(r"{\1}", path[1:-1])


def types_of(subscription: Subscription) -> frozenset[str]:
    """The event types that a subscription can let through; empty when it does not say."""
    chosen = subscription.filter
    return frozenset({chosen.type}) if chosen.type is not None else chosen.types or frozenset()


def triggers(plan: Plan) -> list[Subscription]:
    return [subscription for subscription in plan.subscriptions if subscription.name.startswith("trigger/")]


def behind(subscription: Subscription, house: House, plan: Plan) -> Operation:
    """The function that a subscription leads to."""
    assert isinstance(subscription.target, ToService), subscription.name
    return house.operations[plan.services[subscription.target.name].source]


def causes(filters: object) -> set[str]:
    """Every value of `causetype` in a Trigger's filters, however deep."""
    if isinstance(filters, dict):
        own = {str(value) for name, value in filters.items() if name == "causetype"}
        return own.union(*(causes(value) for value in filters.values()))
    if isinstance(filters, list):
        return set().union(*(causes(value) for value in filters))
    return set()


def test_every_function_has_a_way_in(house: House, manifests: Manifests, plan: Plan) -> None:
    """Each function stands behind a route, a Trigger, a schedule, or as a dead letter sink."""
    assert manifests.kong is not None
    reached = {service.function for service in manifests.kong.services}
    for subscription in plan.subscriptions:
        targets = (subscription.target, subscription.dead_letter)
        reached |= {target.name for target in targets if isinstance(target, ToService)}

    assert {plan.services[name].source for name in reached} == set(house.operations)


def test_routes_are_those_of_the_functions(house: House, manifests: Manifests) -> None:
    """Each function that answers requests has one route, which has its method and path; no route leads elsewhere."""
    assert manifests.kong is not None
    routed = Counter(
        (manifests.services[service.function].source, method, template(route))
        for service in manifests.kong.services
        for route in service.routes
        for method in route.methods
    )
    assert routed == Counter((file, operation.method, operation.path) for file, operation in house.http.items())


def test_routes_leave_signed_paths_alone(manifests: Manifests) -> None:
    """No route strips its path, every host is that of its Service, and each has the limits of rate and size."""
    assert manifests.kong is not None
    for service in manifests.kong.services:
        assert service.host == manifests.services[service.function].url.removeprefix("http://")
        for route in service.routes:
            assert not route.strip_path, route.name
            assert manifests.kong.rate_limit(service, route) is not None
            assert manifests.kong.max_body_bytes(service, route) == 256 * 1024


def test_the_machine_has_its_own_rate_limit(manifests: Manifests) -> None:
    """One machine counts 20,000 requests a second and tenant; the file that is deployed says 200."""
    assert manifests.kong is not None
    service = manifests.kong.services[0]
    limit = manifests.kong.rate_limit(service, service.routes[0])

    assert limit is not None
    assert (limit.second, limit.header_name) == (20_000, "X-Tenant-Id")


def test_triggers_lead_to_functions_that_take_their_events(house: House, plan: Plan) -> None:
    """A Trigger lets through the very types that its function takes: none that it would refuse, none missing."""
    taken = {}
    for subscription in triggers(plan):
        operation = behind(subscription, house, plan)
        assert isinstance(operation, EventOperation), subscription.name
        taken[subscription.name] = (types_of(subscription), frozenset(operation.models))

    assert {name: pair for name, pair in taken.items() if pair[0] != pair[1]} == {}


def test_functions_that_take_events_have_one_trigger(house: House, plan: Plan) -> None:
    """Each function that takes facts has one Trigger: the inbox then knows that a first delivery is a first one."""
    expected = [file for file, operation in house.events.items() if operation.models and not operation.platform]

    assert sorted(plan.services[s.target.name].source for s in triggers(plan) if isinstance(s.target, ToService)) == (
        sorted(expected)
    )
    assert all(subscription.exclusive for subscription in triggers(plan))


def test_triggers_filter_by_causes_that_exist(manifests: Manifests, plan: Plan) -> None:
    """Where a Trigger asks for a cause, some event type that it lets through can have that cause."""
    for subscription in triggers(plan):
        spec = manifests.triggers[subscription.name.removeprefix("trigger/")].spec
        wanted = causes(spec.filters) | causes(spec.filter.attributes if spec.filter else {})
        known: set[str] = set()
        for name in types_of(subscription):
            fields = CATALOGUE[name].model_fields
            for field in CAUSE_FIELDS & fields.keys():
                known |= set(get_args(fields[field].annotation))
        assert wanted <= known, subscription.name


def test_schedules_lead_to_functions_of_the_platform(house: House, plan: Plan) -> None:
    """Each PingSource leads to a function that takes ticks for the whole platform, and each such function has one."""
    ticking = [behind(subscription, house, plan) for _, subscription in plan.pings.values()]

    assert all(isinstance(operation, EventOperation) and operation.platform for operation in ticking)
    assert sorted(operation.id for operation in ticking) == sorted(
        operation.id for operation in house.events.values() if Tick.type in operation.models
    )


def test_nothing_is_given_up_without_a_dead_letter(house: House, manifests: Manifests, plan: Plan) -> None:
    """Every Trigger and KafkaSource has a sink of its own that takes any event, or a topic that is read again."""
    resources: list[Trigger | KafkaSource] = [*manifests.triggers.values(), *manifests.sources.values()]
    for resource in resources:
        assert resource.spec.delivery is not None, resource.name
        assert resource.spec.delivery.dead_letter_sink is not None, resource.name
    for subscription in plan.subscriptions:
        sink = subscription.dead_letter
        if isinstance(sink, ToService):
            operation = house.operations[plan.services[sink.name].source]
            assert isinstance(operation, EventOperation), subscription.name
            assert operation.any_event, subscription.name
        elif isinstance(sink, ToTopic):
            assert plan.topics[sink.topic], subscription.name
        else:
            assert subscription.name.startswith("ping/")


def test_request_functions_take_no_events(house: House, plan: Plan) -> None:
    """No Trigger, source or schedule leads to a function that answers requests."""
    assert [s.name for s in plan.subscriptions if isinstance(behind(s, house, plan), HttpOperation)] == []


def test_every_fact_is_consumed_or_terminal(plan: Plan) -> None:
    """Each event type is taken by a Trigger or declared terminal, and no type is both."""
    consumed = {name for subscription in triggers(plan) for name in types_of(subscription)}

    assert consumed == {name for name, model in CATALOGUE.items() if not model.terminal}


def test_every_fact_that_is_told_is_published(house: House) -> None:
    """Every type that a function emits stands in the catalogue, and every type there is emitted by some function."""
    assert {told.model.type for told in house.told} == set(CATALOGUE)


def test_facts_are_told_by_their_own_domain(house: House) -> None:
    """A fact goes to the topic of the domain that tells it; by that its topic is known from its source."""
    assert [told for told in house.told if told.model.topic != f"lastro.{told.domain}.v1"] == []


def test_facts_with_a_cause_say_it_where_triggers_look(house: House, plan: Plan) -> None:
    """What tells a consumed fact with a cause also sets the extension attribute that Triggers filter by."""
    consumed = {name for subscription in triggers(plan) for name in types_of(subscription)}
    silent = [
        told
        for told in house.told
        if told.model.type in consumed and CAUSE_FIELDS & told.model.model_fields.keys() and not told.names_cause
    ]
    assert silent == []


def test_every_topic_is_made_and_read(manifests: Manifests, plan: Plan) -> None:
    """Each topic that facts go to is a KafkaTopic, each is read by one source, and facts reach the Broker."""
    models: list[type[Event]] = list(CATALOGUE.values())
    read = Counter(topic for source in manifests.sources.values() for topic in source.spec.topics)

    assert {model.topic for model in models} <= set(manifests.topics)
    assert read == dict.fromkeys(manifests.topics, 1)
    for topic in {model.topic for model in models}:
        assert [subscription for subscription, _ in plan.topics[topic]] == plan.brokers["default"]
