"""The ways to functions, in both directions: every function has one, and it matches the function's declaration."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final, get_args

from embedded.broker.plan import ToService
from embedded.functions.ways_in import ways_in
from embedded.manifests.findings import Finding
from embedded.manifests.kong import KongRoute, KongService
from embedded.wiring.repository import Repository
from events.catalogue import CATALOGUE
from events.sweeps import Tick
from shared.http.operation import HttpOperation

MAX_BODY_BYTES: Final = 256 * 1024
"""The largest body of a request, at the gateway. LASTRO_MAX_BODY_BYTES is the same bound for the functions."""
CAUSE_FIELDS: Final = frozenset({"cause_type", "saga_type"})
"""The field with the type of the cause in the data of an event. The extension attribute is `causetype`."""
_GROUP: Final = re.compile(r"\(\?<([a-z_]+)>\[\^/\]\+\)")


def functions_without_a_way(repository: Repository) -> Iterator[Finding]:
    """Each function is the target of a route, a Trigger, a schedule, or a dead letter sink."""
    for name, ways in ways_in(repository.plan, repository.manifests).items():
        function = repository.behind(name)
        if function is not None and not ways:
            kinds = "route" if isinstance(function.operation, HttpOperation) else "Trigger, source or schedule"
            yield function.finding(f"has no way in: no {kinds} leads to its Service {name}")


def routes_of_functions(repository: Repository) -> Iterator[Finding]:
    """Each function that answers requests has one route, with its method and path and the gateway's limits."""
    kong = repository.manifests.kong
    assert kong is not None
    routed: dict[str, str] = {}
    for n, service in enumerate(kong.services):
        if service.function not in repository.plan.services:
            continue
        function = repository.behind(service.function)
        address = repository.plan.services[service.function].url.removeprefix("http://")
        if service.host != address:
            yield _of_kong(repository, f"the host of {service.name} must be {address}", n, "host")
        for m, route in enumerate(service.routes):
            if function is None or not isinstance(function.operation, HttpOperation):
                continue
            yield from _of_route(repository, service, route, function.operation, (n, m))
            first = routed.setdefault(function.file, route.name)
            if first != route.name:
                reason = f"{route.name} leads to {function.operation.id}, which has the route {first} already"
                yield _of_kong(repository, reason, n, "routes", m)
    for file, operation in repository.http.items():
        if file not in routed and any(service.source == file for service in repository.plan.services.values()):
            reason = f"has no route; add {operation.method} {operation.path} to Kong's file"
            yield repository.functions[file].finding(reason)


def _of_route(
    repository: Repository, service: KongService, route: KongRoute, operation: HttpOperation, place: tuple[int, int]
) -> Iterator[Finding]:
    kong, (n, m) = repository.manifests.kong, place
    assert kong is not None
    path = _GROUP.sub(r"{\1}", route.paths[0].removeprefix("~").removesuffix("$")).replace("\\.", ".")
    exact = len(route.paths) == 1 and route.paths[0].startswith("~/") and route.paths[0].endswith("$")
    if not exact or (route.methods, path) != ([operation.method], operation.path):
        shown = f"{','.join(route.methods) or 'any method'} {' and '.join(route.paths)}"
        reason = f"{route.name} is {shown}, and {operation.id} answers {operation.method} {operation.path} alone"
        yield _of_kong(repository, reason, n, "routes", m, "paths")
    if kong.rate_limit(service, route) is None:
        yield _of_kong(repository, f"{route.name} has no rate limit", n, "routes", m)
    limit = kong.max_body_bytes(service, route)
    if limit != MAX_BODY_BYTES:
        reason = f"{route.name} takes bodies of {limit or 'any number of'} bytes; it must be {MAX_BODY_BYTES}"
        yield _of_kong(repository, reason, n, "routes", m)


def _of_kong(repository: Repository, reason: str, service: int, *path: str | int) -> Finding:
    return repository.manifests.finding("Kong", "", reason, "services", service, *path)


def triggers_of_functions(repository: Repository) -> Iterator[Finding]:
    """Each function that consumes events has one Trigger, which lets all of its types pass.

    With a single Trigger, the broker knows that a first delivery to the function is the first.
    """
    triggered: dict[str, str] = {}
    for subscription in repository.triggers:
        kind, name = subscription.resource
        function = repository.function_of(subscription)
        if function is None or function.file not in repository.events:
            continue
        first = triggered.setdefault(function.file, name)
        if first != name:
            reason = f"{function.operation.id} has the Trigger {first} already; name all its types in one"
            yield repository.manifests.finding(kind, name, reason, "spec", "subscriber")
            continue
        missing = set(repository.events[function.file].models) - (subscription.filter.possible_types or frozenset())
        if missing and subscription.filter.possible_types is not None:
            reason = (
                f"{function.operation.id} also takes {', '.join(sorted(missing))}, which the Trigger does not let pass"
            )
            spec = repository.manifests.triggers[name].spec
            yield repository.manifests.finding(kind, name, reason, "spec", "filters" if spec.filters else "filter")
    for file, operation in repository.events.items():
        if operation.models and not operation.platform and file not in triggered:
            yield repository.functions[file].finding("has no Trigger")


def causes_of_triggers(repository: Repository) -> Iterator[Finding]:
    """When a Trigger filters by a cause, an event type that it lets pass can have that cause."""
    for subscription in repository.triggers:
        kind, name = subscription.resource
        spec = repository.manifests.triggers[name].spec
        wanted = _causes(spec.filters) | _causes(spec.filter.attributes if spec.filter and not spec.filters else {})
        known: set[str] = set()
        for type_name in subscription.filter.possible_types or ():
            model = CATALOGUE.get(type_name)
            for field in CAUSE_FIELDS & model.model_fields.keys() if model is not None else ():
                known |= set(get_args(model.model_fields[field].annotation)) if model is not None else set()
        for cause in sorted(wanted - known):
            path = "filters" if spec.filters else "filter"
            reason = f"no event that can pass has the causetype {cause}; they have {', '.join(sorted(known)) or 'none'}"
            yield repository.manifests.finding(kind, name, reason, "spec", path)


def _causes(filters: Any) -> set[str]:
    """Return every value of `causetype` in a Trigger's filters, at any depth."""
    if isinstance(filters, dict):
        own = {str(value) for name, value in filters.items() if name == "causetype"}
        return own.union(*(_causes(value) for value in filters.values()))
    if isinstance(filters, list):
        return set().union(*(_causes(value) for value in filters))
    return set()


def deliveries_of_triggers(repository: Repository) -> Iterator[Finding]:
    """A Trigger has its own delivery settings, and waits longer than its function may take.

    The function then times out first and reports the reason.
    """
    for subscription in repository.plan.subscriptions:
        kind, name = subscription.resource
        if kind == "Trigger" and repository.manifests.triggers[name].spec.delivery is None:
            yield repository.manifests.finding(kind, name, "the Trigger has no delivery of its own", "spec")
        elif kind != "PingSource" and isinstance(subscription.target, ToService):
            allowed = repository.plan.services[subscription.target.name].timeout_seconds
            if subscription.policy.timeout <= allowed:
                reason = f"{subscription.target.name} may take {allowed} seconds to answer; wait longer than that"
                yield repository.manifests.finding(kind, name, reason, "spec", "delivery", "timeout")


def schedules_of_functions(repository: Repository) -> Iterator[Finding]:
    """Each function that consumes ticks has one PingSource."""
    ticking: dict[str, str] = {}
    for _, subscription in repository.plan.pings.values():
        kind, name = subscription.resource
        function = repository.function_of(subscription)
        if function is None:
            continue
        first = ticking.setdefault(function.file, name)
        if first != name:
            reason = f"{function.operation.id} has the PingSource {first} already"
            yield repository.manifests.finding(kind, name, reason, "spec", "sink")
    for file, operation in repository.events.items():
        if Tick.type in operation.models and file not in ticking:
            yield repository.functions[file].finding("takes ticks and has no PingSource")
