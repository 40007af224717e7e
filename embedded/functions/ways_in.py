"""The ways by which functions are reached, and whether each function accepts what they deliver."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from difflib import get_close_matches
from typing import Any, Final

from embedded.broker.plan import Plan, Subscription, ToService
from embedded.broker.schedules import PING_TYPE
from embedded.manifests.findings import Finding
from embedded.manifests.kong import KongRoute
from embedded.manifests.loading import Manifests
from shared.functions.operation import Operation
from shared.http.operation import HttpOperation
from shared.messaging.operation import EventOperation

EVENT_ATTRIBUTES: Final = frozenset(
    "causationid causetype correlationid datacontenttype dataschema deadletterid id partitionkey source specversion "
    "subject tenantid time traceparent type via".split()
)
"""The context attributes of the events that the platform publishes."""

Lookup = Callable[[str], Operation]
"""Called with the name of a Service; returns the operation of its function."""


def ways_in(plan: Plan, manifests: Manifests) -> dict[str, tuple[str, ...]]:
    """Return the ways to the function of each Service: routes, Triggers, sources, schedules and dead letters."""
    ways: dict[str, list[str]] = {name: [] for name in plan.services}
    for subscription in plan.subscriptions:
        if isinstance(subscription.target, ToService):
            ways[subscription.target.name].append(subscription.name.replace("/", " ", 1))
        if isinstance(subscription.dead_letter, ToService):
            ways[subscription.dead_letter.name].append("dead letters")
    for service in manifests.kong.services if manifests.kong is not None else ():
        if service.function in ways:
            ways[service.function] += [shown for route in service.routes for shown in _shown(route)]
    return {name: tuple(dict.fromkeys(listed)) for name, listed in ways.items()}


def refused_ways(plan: Plan, manifests: Manifests, operation_of: Lookup) -> Iterator[Finding]:
    """Return a finding for each way that delivers something that its function would refuse."""
    for subscription in plan.subscriptions:
        yield from _refused_events(subscription, manifests, operation_of)
        yield from _refused_dead_letters(subscription, manifests, operation_of)
    for n, service in enumerate(manifests.kong.services if manifests.kong is not None else ()):
        if service.function not in plan.services:
            reason = f"there is no Service {service.function}, the first label of the host"
            yield manifests.finding("Kong", "", reason, "services", n, "host")
        elif service.routes and not isinstance(operation_of(service.function), HttpOperation):
            reason = (
                f"{operation_of(service.function).id} accepts events, not requests, and has the route {service.name}"
            )
            yield manifests.finding("Kong", "", reason, "services", n, "routes", 0)


def _refused_events(subscription: Subscription, manifests: Manifests, operation_of: Lookup) -> Iterator[Finding]:
    kind, name = subscription.resource
    if not isinstance(subscription.target, ToService):
        return
    operation = operation_of(subscription.target.name)
    to = ("spec", "subscriber") if kind == "Trigger" else ("spec", "sink")
    if not isinstance(operation, EventOperation):
        yield manifests.finding(kind, name, f"{operation.id} accepts requests, not events", *to)
    elif kind == "PingSource":
        if not operation.any_event and PING_TYPE not in operation.models:
            yield manifests.finding(kind, name, f"{operation.id} does not accept the ticks of a schedule", *to)
        elif not operation.platform:
            yield manifests.finding(kind, name, f"a tick has no tenant, and {operation.id} needs one", *to)
    elif not operation.any_event:
        yield from _refused_types(subscription, operation, manifests)
        if kind == "Trigger":
            yield from _unknown_attributes(name, manifests)


def _refused_types(subscription: Subscription, operation: EventOperation, manifests: Manifests) -> Iterator[Finding]:
    kind, name = subscription.resource
    taken, passing = set(operation.models), subscription.filter.possible_types
    takes = f"{operation.id} accepts only {_and(taken)}"
    if kind != "Trigger":
        reason = f"every event of its topics is delivered here, and {takes}; use a Broker and a Trigger"
        yield manifests.finding(kind, name, reason, "spec", "sink")
        return
    spec = manifests.triggers[name].spec
    # Without both fields the finding is for the beginning of the spec.
    path = ("spec", "filters" if spec.filters or spec.filter is None else "filter")
    if passing is None:
        reason = f"the Trigger does not name the types that pass, and {takes}; name the types with exact"
        yield manifests.finding(kind, name, reason, *path)
    elif not passing:
        yield manifests.finding(kind, name, "no event can pass: the filters name different types", *path)
    elif passing - taken:
        reason = f"the Trigger lets {_and(passing - taken)} pass, and {takes}"
        yield manifests.finding(kind, name, reason, *path)


def _unknown_attributes(trigger: str, manifests: Manifests) -> Iterator[Finding]:
    """Return a finding for each attribute in a Trigger's filters that no event of the platform has."""
    spec = manifests.triggers[trigger].spec
    if spec.filters:
        path, names = "filters", _attributes(spec.filters)
    else:
        path, names = "filter", set((spec.filter.attributes if spec.filter is not None else None) or ())
    for name in sorted(names - EVENT_ATTRIBUTES):
        likely = get_close_matches(name, sorted(EVENT_ATTRIBUTES), n=1)
        meant = f"; the nearest is {likely[0]}" if likely else ""
        reason = f"no event of the platform has the attribute {name}{meant}"
        yield manifests.finding("Trigger", trigger, reason, "spec", path)


def _attributes(filters: Any) -> set[str]:
    """Return the names of the attributes in filters of any dialect, nested ones included."""
    if isinstance(filters, list):
        return set().union(*map(_attributes, filters))
    found: set[str] = set()
    for dialect, value in filters.items():
        found |= set(value) if dialect in ("exact", "prefix", "suffix") else _attributes(value)
    return found


def _refused_dead_letters(subscription: Subscription, manifests: Manifests, operation_of: Lookup) -> Iterator[Finding]:
    if not isinstance(subscription.dead_letter, ToService):
        return
    operation = operation_of(subscription.dead_letter.name)
    if not isinstance(operation, EventOperation) or not operation.any_event:
        taken = "only events of some types" if isinstance(operation, EventOperation) else "requests"
        reason = f"a dead letter sink must accept every event, and {operation.id} accepts {taken}"
        # For a Trigger without `delivery` the finding names the Trigger and not its Broker, because the Trigger would
        # lose events.
        yield manifests.finding(*subscription.resource, reason, "spec", "delivery", "deadLetterSink")


def _shown(route: KongRoute) -> list[str]:
    return [f"route {','.join(route.methods) or 'ANY'} {path.lstrip('~')}" for path in route.paths]


def _and(names: set[str] | frozenset[str]) -> str:
    *others, last = sorted(names)
    return f"{', '.join(others)} and {last}" if others else last
