"""The page of what runs where: a picture and a table, drawn from the wiring and the systems around it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from embedded.policies.edges import BROKER, GATEWAY, SCHEDULE, SOURCE, calls, edges_to_systems
from embedded.policies.systems import COLLECTOR, INTERNET, SYSTEMS
from embedded.wiring.repository import Repository

_ABOUT = """# What runs where

Made by `lastro policies` from the manifests and the code; do not edit it. How to deploy it: [deploy.md](deploy.md).

A box is a namespace. A number on an arrow counts the functions that it concerns. Each arrow is allowed by a
NetworkPolicy at both ends, and nothing else is ([manifests](manifests.md#who-may-talk-to-whom)).
"""


def page(repository: Repository) -> str:
    """Return the page docs/what-runs-where.md."""
    return "\n".join([_ABOUT, "```mermaid", *_graph(repository), "```", "", *_table(repository)]) + "\n"


def _graph(repository: Repository) -> Iterator[str]:
    edges = calls(repository)
    domains = Counter(_domain(name) for name in repository.plan.services)
    of_systems = Counter(use.system for use in edges_to_systems(repository))
    callers = Counter(edge.caller for edge in edges)
    yield "flowchart TB"
    yield "  clients([clients and providers]) --> kong"
    yield '  subgraph kong_ns [namespace kong]\n    kong["Kong: routes, tokens, limits"]\n  end'
    yield '  subgraph knative_ns [knative-serving, knative-eventing]\n    ingress["ingress, activator, autoscaler"]'
    yield '    broker["Broker, Triggers, KafkaSources"]\n    schedules["PingSources"]\n  end'
    yield "  subgraph lastro_ns [namespace lastro]"
    for domain, number in sorted(domains.items()):
        yield f'    {domain}["{domain}: {number} functions"]'
    yield "  end"
    yield f'  kong -->|"{callers[GATEWAY]}"| ingress'
    from_kafka = {edge.service for edge in edges if edge.caller in (BROKER, SOURCE)}
    yield f'  broker -->|"{len(from_kafka)}"| ingress'
    yield f'  schedules -->|"{callers[SCHEDULE]}"| ingress'
    yield "  ingress --> lastro_ns"
    for name, system in sorted(SYSTEMS.items()):
        yield f'  subgraph {name}_ns [namespace {system.pods.namespace}]\n    {name}["{name}: {system.why}"]\n  end'
        yield f'  lastro_ns -->|"{of_systems[name]}"| {name}'
    yield "  subgraph observability_ns [namespace observability]"
    yield '    collector["collector, Prometheus, Loki, Tempo, Grafana"]\n  end'
    yield f'  lastro_ns -->|"{sum(domains.values())}"| collector'
    yield "  kafka --> broker"
    yield '  subgraph release_ns [namespace lastro-release]\n    release["controller of releases"]\n  end'
    yield "  release -->|traffic| lastro_ns\n  release -->|figures| collector"
    yield '  subgraph secrets_ns [namespace external-secrets]\n    secrets["External Secrets"]\n  end'
    yield '  subgraph logging_ns [namespace logging]\n    logs["readers of logs, one a node"]\n  end'
    yield "  secrets --> vault\n  logs --> collector"
    yield "  kong -->|tokens, keys of the realm| keycloak\n  kong --> collector"
    for name, (_, why) in INTERNET.items():
        yield f'  lastro_ns -->|"{of_systems[name]}"| {name}([{why}])'


def _table(repository: Repository) -> Iterator[str]:
    yield "| namespace | what | ports | functions that use it |"
    yield "|---|---|---|---|"
    of_systems: dict[str, list[str]] = {}
    for use in edges_to_systems(repository):
        of_systems.setdefault(use.system, []).append(use.service)
    for name, system in sorted(SYSTEMS.items()):
        ports = ", ".join(map(str, system.ports))
        yield f"| `{system.pods.namespace}` | {name}: {system.why} | {ports} | {_shown(repository, of_systems[name])} |"
    ports = ", ".join(map(str, COLLECTOR.ports))
    yield f"| `{COLLECTOR.pods.namespace}` | collector: {COLLECTOR.why} | {ports} | all |"
    for name, (numbers, why) in INTERNET.items():
        yield f"| public addresses | {why} | {', '.join(map(str, numbers))} | {_shown(repository, of_systems[name])} |"


def _shown(repository: Repository, services: list[str]) -> str:
    """Return how many functions of each domain; the names where they are few."""
    if len(services) == len(repository.plan.services):
        return "all"
    if len(services) <= 5:
        return ", ".join(f"`{name}`" for name in services)
    counted = Counter(map(_domain, services))
    return ", ".join(f"{domain} {number}" for domain, number in sorted(counted.items()))


def _domain(service: str) -> str:
    return service.partition("-")[0]
