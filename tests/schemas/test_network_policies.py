"""The NetworkPolicies of the built overlays, evaluated as a cluster does, and compared with the wiring."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from embedded.policies import systems
from embedded.policies.edges import edges_to_systems
from embedded.policies.systems import COLLECTOR, INTERNET, OWN, SYSTEMS, Pods
from embedded.wiring.repository import Repository, read_repository
from shared.core.strict_yaml import read_values
from tests.schemas.test_overlays import OVERLAYS, built

ROOT = Path(__file__).resolve().parents[2]
Document = dict[str, Any]
SERVICE = "serving.knative.dev/service"


@pytest.fixture(scope="module")
def repository() -> Repository:
    return read_repository(ROOT)


def matches(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Evaluate a label selector (the operators that the policies use)."""
    for name, value in selector.get("matchLabels", {}).items():
        if labels.get(name) != value:
            return False
    for expression in selector.get("matchExpressions", []):
        assert expression["operator"] == "Exists"
        if expression["key"] not in labels:
            return False
    return True


def selects(peer: Mapping[str, Any], pods: Pods) -> bool:
    """Return whether a peer of a rule is these pods."""
    return (
        "namespaceSelector" in peer
        and matches(peer["namespaceSelector"], {"kubernetes.io/metadata.name": pods.namespace})
        and matches(peer.get("podSelector", {}), pods.labels)
    )


def allowed(policies: list[Document], pod: Pods, direction: str, other: Pods, port: int) -> bool:
    """Return whether the policies of a pod's namespace let traffic with another pod pass, on a TCP port."""
    side, ends = ("ingress", "from") if direction == "Ingress" else ("egress", "to")
    applying = [
        policy["spec"]
        for policy in policies
        if policy["metadata"]["namespace"] == pod.namespace
        and direction in policy["spec"]["policyTypes"]
        and matches(policy["spec"]["podSelector"], pod.labels)
    ]
    assert applying, f"nothing limits the {direction} of {pod}"
    return any(
        (ends not in rule or any(selects(peer, other) for peer in rule[ends]))
        and ("ports" not in rule or any(one["port"] == port and one["protocol"] == "TCP" for one in rule["ports"]))
        for spec in applying
        for rule in spec.get(side, [])
    )


def reaches_internet(policies: list[Document], pod: Pods) -> set[int]:
    """Return the ports on which a pod may reach public addresses; private ones are excepted."""
    found = set()
    for policy in policies:
        if policy["metadata"]["namespace"] != pod.namespace or not matches(policy["spec"]["podSelector"], pod.labels):
            continue
        for rule in policy["spec"].get("egress", []):
            for peer in rule["to"]:
                if "ipBlock" in peer:
                    assert {"10.0.0.0/8", "169.254.0.0/16", "192.168.0.0/16"} <= set(peer["ipBlock"]["except"])
                    found |= {one["port"] for one in rule["ports"]}
    return found


def functions(overlay: str) -> Iterator[tuple[str, Pods]]:
    for document in built(overlay):
        if document["kind"] == "Service" and document["apiVersion"].startswith("serving.knative.dev"):
            name = document["metadata"]["name"]
            yield name, Pods(OWN, {SERVICE: name, **document["spec"]["template"]["metadata"]["labels"]})


def policies_of(overlay: str) -> list[Document]:
    """Return the policies of the overlay and those of each system's folder; there is no mesh on kind."""
    found = [document for document in built(overlay) if document["kind"] == "NetworkPolicy"]
    elsewhere = {"production": {"kong"}, "kind": {"kong", "istio"}}[overlay]
    for path in sorted((ROOT / "knative" / "platform").glob("*/network.yaml")):
        if path.parent.name not in elsewhere:
            found += read_values(path.read_text())
    return found


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_function_reaches_exactly_what_it_uses(overlay: str, repository: Repository) -> None:
    """At both ends, each system lets in exactly the functions that use it, and each function gets out to these only."""
    policies = policies_of(overlay)
    used = {(use.service, use.system) for use in edges_to_systems(repository)}
    open_edges = set()
    for name, pod in functions(overlay):
        for system in SYSTEMS.values():
            ends = {
                (
                    allowed(policies, pod, "Egress", system.pods, port),
                    allowed(policies, system.pods, "Ingress", pod, port),
                )
                for port in system.ports
            }
            assert len(ends) == 1
            (both,) = ends
            assert len(set(both)) == 1, f"{name} and {system.name} do not agree"
            if all(both):
                open_edges.add((name, system.name))
        ports = reaches_internet(policies, pod)
        for public, (wanted, _) in INTERNET.items():
            if (name, public) in used:
                assert set(wanted) <= ports, name
        assert bool(ports) == any((name, public) in used for public in INTERNET), name

    assert open_edges == {edge for edge in used if edge[1] in SYSTEMS}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_functions_are_reached_through_knative_only(overlay: str) -> None:
    """A function's pod accepts requests from Knative's ingress and activator, in the mesh from the gateway and the
    event data plane, and from no other pod, not even from another function."""
    policies = policies_of(overlay)
    pods = dict(functions(overlay))
    pod = pods["payments-settle"]
    in_the_mesh = overlay == "production"
    for port in systems.QUEUE_PORTS:
        for caller in (systems.INGRESS, systems.ACTIVATOR):
            assert allowed(policies, pod, "Ingress", caller, port)
        for caller in (systems.GATEWAY, systems.EVENTING):
            assert allowed(policies, pod, "Ingress", caller, port) is in_the_mesh
        for other in (pods["payments-capture"], systems.PROMETHEUS, SYSTEMS["kafka"].pods):
            assert not allowed(policies, pod, "Ingress", other, port)
    assert not allowed(policies, pod, "Ingress", systems.INGRESS, 8080)
    assert not allowed(policies, pod, "Egress", pods["payments-capture"], 8012)
    assert not allowed(policies, pod, "Egress", systems.INGRESS, 8081)
    assert allowed(policies, pod, "Egress", systems.MESH, 15012) is in_the_mesh


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_telemetry_and_names_are_open_to_all_functions(overlay: str) -> None:
    """Every function reaches the collector, which accepts it, and the cluster's DNS."""
    policies = policies_of(overlay)
    for name, pod in functions(overlay):
        assert allowed(policies, pod, "Egress", COLLECTOR.pods, 4318), name
        assert allowed(policies, COLLECTOR.pods, "Ingress", pod, 4318), name
        assert allowed(policies, pod, "Egress", systems.DNS, 53), name


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_gateway_reaches_functions_only_through_knative(overlay: str) -> None:
    """Clients reach Kong's proxy and never its admin interface; Kong reaches Knative's ingress, in the mesh the
    functions and the activator, the realm's keys and the collector, and no store."""
    policies = policies_of(overlay)
    anyone = Pods("default", {})
    assert allowed(policies, systems.GATEWAY, "Ingress", anyone, 8000)
    assert not allowed(policies, systems.GATEWAY, "Ingress", anyone, 8001)
    assert allowed(policies, systems.GATEWAY, "Egress", systems.INGRESS, 8081)
    in_the_mesh = overlay == "production"
    for pods in (systems.ACTIVATOR, dict(functions(overlay))["payments-create-payment"]):
        assert allowed(policies, systems.GATEWAY, "Egress", pods, 8012) is in_the_mesh
    for name, system in SYSTEMS.items():
        for port in system.ports:
            assert allowed(policies, systems.GATEWAY, "Egress", system.pods, port) is (name == "keycloak"), name


def test_a_stranger_reaches_no_system() -> None:
    """A pod of another namespace reaches no store, and a function's label in another namespace does not help."""
    policies = policies_of("production")
    for system in SYSTEMS.values():
        stranger = Pods("default", {SERVICE: "any", f"lastro.dev/uses-{system.name}": "true"})
        for port in system.ports:
            assert not allowed(policies, system.pods, "Ingress", stranger, port), system.name


def test_what_is_no_function_reaches_what_it_asks() -> None:
    """The controller of releases reaches Prometheus, and the readers of logs Loki; neither reaches the other's."""
    policies = policies_of("production")
    controller = ROOT / "knative" / "platform" / "release" / "controller.yaml"
    policies += [one for one in read_values(controller.read_text()) if one["kind"] == "NetworkPolicy"]
    assert allowed(policies, systems.RELEASE, "Egress", systems.PROMETHEUS, 9090)
    assert allowed(policies, systems.PROMETHEUS, "Ingress", systems.RELEASE, 9090)
    assert allowed(policies, systems.LOKI, "Ingress", systems.LOGS, 3100)
    assert not allowed(policies, systems.LOKI, "Ingress", systems.RELEASE, 3100)
    assert not allowed(policies, systems.PROMETHEUS, "Ingress", systems.LOGS, 9090)


def test_the_pods_of_the_policies_are_those_of_the_manifests() -> None:
    """Policies know the controller of releases, the collector, Prometheus, Loki and the readers of logs by the names
    and namespaces of their manifests."""
    found = set()
    for folder in ("release", "observability"):
        for path in (ROOT / "knative" / "platform" / folder).glob("*.yaml"):
            for one in read_values(path.read_text()):
                if one["kind"] in ("Deployment", "StatefulSet"):
                    labels = one["spec"]["template"]["metadata"]["labels"]
                    found.add((one["metadata"]["namespace"], labels["app.kubernetes.io/name"]))
                elif one["kind"] == "OpenTelemetryCollector":
                    # The operator's name for the pods of a collector.
                    found.add((one["metadata"]["namespace"], f"{one['metadata']['name']}-collector"))
    for pods in (systems.RELEASE, systems.PROMETHEUS, systems.LOKI, systems.LOGS, COLLECTOR.pods):
        assert (pods.namespace, pods.labels["app.kubernetes.io/name"]) in found
