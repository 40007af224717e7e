"""Who calls whom on a cluster: from the gateway's routes, the Triggers, the schedules and what each function uses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from embedded.broker.plan import ToService
from embedded.policies.systems import SYSTEM_OF_PORT
from embedded.policies.uses import uses
from embedded.wiring.repository import Repository

GATEWAY: Final = "gateway"
BROKER: Final = "broker"
SOURCE: Final = "source"
SCHEDULE: Final = "schedule"
_CALLERS: Final = {"PingSource": SCHEDULE, "KafkaSource": SOURCE}
_PARAMETER: Final = re.compile(r"\(\?<[a-z_]+>[^)]*\)")


class Call(NamedTuple):
    """An edge to a function: who calls it, and with which methods and paths. `{*}` in a path is one segment."""

    caller: str
    service: str
    methods: tuple[str, ...]
    paths: tuple[str, ...]


class Use(NamedTuple):
    """An edge from a function to a system of `embedded.policies.systems`."""

    service: str
    system: str


def calls(repository: Repository) -> list[Call]:
    """Return the edges to functions, ordered."""
    return sorted({*_of_the_gateway(repository), *_of_events(repository)})


def edges_to_systems(repository: Repository) -> list[Use]:
    """Return the edges from functions to the systems that not all of them use, ordered."""
    return sorted({Use(name, SYSTEM_OF_PORT[port]) for name, ports in uses(repository).items() for port in ports})


def _of_the_gateway(repository: Repository) -> Iterator[Call]:
    kong = repository.manifests.kong
    assert kong is not None, "the wiring check demands it"
    for service in kong.services:
        for route in service.routes:
            paths = tuple(_template(path) for path in route.paths)
            yield Call(GATEWAY, service.function, tuple(sorted(route.methods)), paths)


def _of_events(repository: Repository) -> Iterator[Call]:
    for subscription in repository.plan.subscriptions:
        caller = _CALLERS.get(subscription.resource[0], BROKER)
        if isinstance(subscription.target, ToService):
            yield Call(caller, subscription.target.name, ("POST",), ("/",))
        if isinstance(subscription.dead_letter, ToService):
            # Who could not deliver an event sends it to the sink.
            yield Call(caller, subscription.dead_letter.name, ("POST",), ("/",))


def _template(path: str) -> str:
    return _PARAMETER.sub("{*}", path.removeprefix("~").removesuffix("$")).replace("\\.", ".")
