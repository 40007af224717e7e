"""The files that are made: policies from the wiring, rules and a dashboard from the objectives."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from embedded.manifests.findings import Finding
from embedded.policies import network
from embedded.policies.edges import calls, edges_to_systems
from embedded.policies.mesh import authorization
from embedded.policies.objectives import dashboard, rules
from embedded.policies.picture import page
from embedded.policies.systems import SYSTEMS
from embedded.policies.uses import uses
from embedded.wiring.repository import Repository

_HEADER: Final = "# Made by `lastro policies` from the wiring and the code. Do not edit it; change the sources."
_ABOUT_COMPONENT: Final = """#
# What each function uses: a label for each system, which the policies in network.yaml select.
# LASTRO_READY_PORTS has the stores without which the function is not ready.
"""
_ADAPTERS: Final = ("documents", "ledger", "cache", "bus", "secrets", "flags", "identity")
"""The ports with a setting LASTRO_<PORT>, which LASTRO_READY_PORTS may name."""
FUNCTIONS: Final = "knative/policies/kustomization.yaml"
NETWORK: Final = "knative/policies/network.yaml"
DISRUPTION: Final = "knative/policies/disruption.yaml"


def policy_files(repository: Repository) -> dict[str, str]:
    """Return the content of each file, by its path in the repository."""
    used = edges_to_systems(repository)
    return {
        FUNCTIONS: _kustomization(uses(repository), repository),
        NETWORK: _text(network.of_functions(used)),
        DISRUPTION: _text(_budgets(repository)),
        "docs/what-runs-where.md": page(repository),
        "knative/platform/kong/network.yaml": _text(network.of_gateway()),
        "knative/platform/istio/authorization.yaml": _text(authorization(calls(repository))),
        "knative/platform/istio/network.yaml": _text(network.of_mesh()),
        "knative/platform/observability/config/objectives.yml": _text([rules()]),
        "knative/platform/observability/dashboards/objectives.json": dashboard(),
        "knative/platform/observability/network.yaml": _text(network.of_observability()),
        **{
            f"knative/platform/{system.name}/network.yaml": _text(network.of_system(system))
            for system in SYSTEMS.values()
        },
    }


def write(repository: Repository) -> list[str]:
    """Write the files whose content differs. Return their paths."""
    written = []
    for name, text in policy_files(repository).items():
        path = repository.root / name
        if _read(path) != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            written.append(name)
    return written


def stale_policies(repository: Repository) -> Iterator[Finding]:
    """The files of the policies are those that `lastro policies` makes of the wiring."""
    if any(repository.behind(name) is None for name in repository.plan.services) or repository.manifests.kong is None:
        return
    for name, text in policy_files(repository).items():
        if _read(repository.root / name) != text:
            yield Finding(name, 0, "The wiring has changed since this file was made; run `lastro policies`.")


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


def _kustomization(used: Mapping[str, frozenset[str]], repository: Repository) -> str:
    """Return the component that says at each function what it uses: labels for the network, ports for /readyz."""
    of_systems: dict[str, set[str]] = defaultdict(set)
    for use in edges_to_systems(repository):
        of_systems[use.service].add(use.system)
    alike: dict[tuple[tuple[str, ...], tuple[str, ...]], list[str]] = defaultdict(list)
    for service, ports in used.items():
        ready = tuple(port for port in _ADAPTERS if port in ports)
        alike[ready, tuple(sorted(of_systems[service]))].append(service)
    component = {
        "apiVersion": "kustomize.config.k8s.io/v1alpha1",
        "kind": "Component",
        "resources": ["network.yaml", "disruption.yaml"],
        "patches": [
            {
                "target": {
                    "group": "serving.knative.dev",
                    "kind": "Service",
                    # Kustomize puts anchors before and after a pattern, so the alternatives are a group.
                    "name": f"({'|'.join(sorted(services))})",
                },
                "patch": _dump([_added(ready, systems)]).removeprefix("---\n"),
            }
            for (ready, systems), services in sorted(alike.items())
        ],
    }
    return f"{_HEADER}\n{_ABOUT_COMPONENT}{_dump([component])}"


def _added(ready: tuple[str, ...], systems: tuple[str, ...]) -> list[dict[str, Any]]:
    labels = [
        {
            "op": "add",
            "path": f"/spec/template/metadata/labels/{network.uses_label(system).replace('/', '~1')}",
            "value": "true",
        }
        for system in systems
    ]
    variable = {"name": "LASTRO_READY_PORTS", "value": ",".join(ready)}
    return [*labels, {"op": "add", "path": "/spec/template/spec/containers/0/env/-", "value": variable}]


def _budgets(repository: Repository) -> list[dict[str, Any]]:
    """Return a budget for each function that always runs: a drain takes one instance at a time."""
    return [
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {
                "name": name,
                "namespace": service.namespace,
                "labels": {"app.kubernetes.io/part-of": "lastro"},
            },
            "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {network.FUNCTION: name}}},
        }
        for name, service in sorted(repository.plan.services.items())
        if service.scale_class == "core"
    ]


def _text(resources: list[dict[str, Any]]) -> str:
    return f"{_HEADER}\n{_dump(resources)}"


class _Dumper(yaml.SafeDumper):
    """Writes repeated values again, without anchors, and texts of several lines as blocks."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True


def _block(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _block)


def _dump(resources: list[Any]) -> str:
    text: str = yaml.dump_all(resources, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)
    return text
