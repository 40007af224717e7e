"""NetworkPolicies: everything is denied but the edges of the wiring (networking.k8s.io/v1)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from embedded.policies import systems
from embedded.policies.edges import Use
from embedded.policies.systems import COLLECTOR, GATEWAY, INTERNET, OWN, PRIVATE_NETWORKS, SYSTEMS, Pods, System

Resource = dict[str, Any]
FUNCTION: Final = "serving.knative.dev/service"
"""The label that Knative puts on the pods of a Service, with its name."""
_ALL_PORTS: Final[Sequence[int]] = ()


def uses_label(system: str) -> str:
    """Return the label of the pods that use a system."""
    return f"lastro.dev/uses-{system}"


def of_functions(used: Iterable[Use]) -> list[Resource]:
    """Return the policies of the functions' namespace."""
    names = sorted({use.system for use in used})
    functions = {"matchExpressions": [{"key": FUNCTION, "operator": "Exists"}]}
    found = [
        _default_deny(OWN, ("Ingress", "Egress")),
        _policy(
            OWN,
            "functions-from-knative",
            functions,
            ingress=[
                _from((systems.INGRESS, systems.ACTIVATOR), systems.QUEUE_PORTS),
                _from((systems.AUTOSCALER, systems.PROMETHEUS), systems.METRICS_PORTS),
            ],
        ),
        _policy(
            OWN,
            "functions-to-common-systems",
            functions,
            egress=[_to((COLLECTOR.pods,), COLLECTOR.ports)],
        ),
        _policy(OWN, "names", {}, egress=[_dns()]),
    ]
    for name in names:
        pods = {"matchLabels": {uses_label(name): "true"}}
        if name in SYSTEMS:
            target = _to((SYSTEMS[name].pods,), SYSTEMS[name].ports)
        else:
            target = {"to": [_internet()], "ports": _ports(INTERNET[name][0])}
        found.append(_policy(OWN, f"functions-to-{name}", pods, egress=[target]))
    return found


def of_gateway() -> list[Resource]:
    """Return the policies of the gateway's namespace: requests from everywhere, and on to Knative's ingress only."""
    gateway = {"matchLabels": dict(GATEWAY.labels)}
    keycloak = SYSTEMS["keycloak"]
    return [
        _default_deny(GATEWAY.namespace, ("Ingress", "Egress")),
        _policy(
            GATEWAY.namespace,
            "gateway",
            gateway,
            # Clients and providers reach it through the load balancer; the address of one is not known here.
            ingress=[{"ports": _ports((8000, 8443))}, _from((systems.PROMETHEUS,), (8100,))],
            egress=[
                _dns(),
                _to((systems.INGRESS,), systems.INGRESS_PORTS),
                _to((keycloak.pods,), keycloak.ports),
                _to((COLLECTOR.pods,), COLLECTOR.ports),
            ],
        ),
    ]


def of_mesh() -> list[Resource]:
    """Return what the mesh adds: callers reach functions and the activator themselves, and every pod its control
    plane."""
    functions: Resource = {"matchExpressions": [{"key": FUNCTION, "operator": "Exists"}]}
    to_control_plane = _to((systems.MESH,), systems.MESH_PORTS)
    to_functions: Resource = {
        "to": [{"namespaceSelector": _namespace(OWN), "podSelector": functions}],
        "ports": _ports(systems.QUEUE_PORTS),
    }
    callers = _from((GATEWAY, systems.EVENTING), systems.QUEUE_PORTS)
    return [
        _policy(OWN, "functions-from-callers-in-the-mesh", functions, ingress=[callers]),
        _policy(OWN, "to-the-control-plane-of-the-mesh", {}, egress=[to_control_plane]),
        _policy(
            GATEWAY.namespace,
            "gateway-in-the-mesh",
            {"matchLabels": dict(GATEWAY.labels)},
            egress=[to_functions, _to((systems.ACTIVATOR,), systems.QUEUE_PORTS), to_control_plane],
        ),
    ]


def of_system(system: System) -> list[Resource]:
    """Return the policies of a system's namespace. What leaves it is not limited: its operator talks to the cluster's
    API, whose address differs from cluster to cluster."""
    namespace = system.pods.namespace
    functions: Resource = {"matchLabels": {uses_label(system.name): "true"}}
    if system is COLLECTOR:
        functions = {"matchExpressions": [{"key": FUNCTION, "operator": "Exists"}]}
    clients = {"namespaceSelector": _namespace(OWN), "podSelector": functions}
    also = (*system.also, GATEWAY) if system is COLLECTOR else system.also
    allowed: list[Resource] = [{"from": [clients, *map(_pods, also)], "ports": _ports(system.ports)}]
    inside: list[Resource] = [
        {"from": [{"podSelector": {}}]},
        _from((systems.OPERATORS, systems.PROMETHEUS), _ALL_PORTS),
    ]
    return [
        _default_deny(namespace, ("Ingress",)),
        _policy(namespace, f"{system.name}-from-its-users", {"matchLabels": dict(system.pods.labels)}, ingress=allowed),
        _policy(namespace, f"{system.name}-from-inside", {}, ingress=inside),
    ]


def of_observability() -> list[Resource]:
    """Return the policies of the collector's namespace, with what others than functions need there."""
    return [
        *of_system(COLLECTOR),
        _let_in(
            "prometheus-from-the-controller-of-releases", systems.PROMETHEUS, systems.RELEASE, systems.PROMETHEUS_PORTS
        ),
        _let_in("loki-from-the-readers-of-logs", systems.LOKI, systems.LOGS, systems.LOKI_PORTS),
    ]


def _let_in(name: str, pods: Pods, caller: Pods, ports: Sequence[int]) -> Resource:
    return _policy(pods.namespace, name, {"matchLabels": dict(pods.labels)}, ingress=[_from((caller,), ports)])


def _default_deny(namespace: str, directions: Sequence[str]) -> Resource:
    return _resource(namespace, "default-deny", {"podSelector": {}, "policyTypes": list(directions)})


def _policy(
    namespace: str,
    name: str,
    pods: Resource,
    *,
    ingress: Sequence[Resource] = (),
    egress: Sequence[Resource] = (),
) -> Resource:
    spec: Resource = {"podSelector": pods, "policyTypes": []}
    if ingress:
        spec["policyTypes"].append("Ingress")
        spec["ingress"] = list(ingress)
    if egress:
        spec["policyTypes"].append("Egress")
        spec["egress"] = list(egress)
    return _resource(namespace, name, spec)


def _resource(namespace: str, name: str, spec: Resource) -> Resource:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app.kubernetes.io/part-of": "lastro"}},
        "spec": spec,
    }


def _from(pods: Iterable[Pods], ports: Sequence[int]) -> Resource:
    return {"from": [_pods(each) for each in pods], **({"ports": _ports(ports)} if ports else {})}


def _to(pods: Iterable[Pods], ports: Sequence[int]) -> Resource:
    return {"to": [_pods(each) for each in pods], "ports": _ports(ports)}


def _dns() -> Resource:
    ports = [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]
    return {"to": [_pods(systems.DNS)], "ports": ports}


def _internet() -> Resource:
    return {"ipBlock": {"cidr": "0.0.0.0/0", "except": list(PRIVATE_NETWORKS)}}


def _pods(pods: Pods) -> Resource:
    selector: Resource = {"matchLabels": dict(pods.labels)} if pods.labels else {}
    return {"namespaceSelector": _namespace(pods.namespace), "podSelector": selector}


def _namespace(name: str) -> Resource:
    return {"matchLabels": {"kubernetes.io/metadata.name": name}}


def _ports(numbers: Iterable[int]) -> list[Resource]:
    return [{"protocol": "TCP", "port": number} for number in numbers]
