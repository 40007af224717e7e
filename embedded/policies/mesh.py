"""AuthorizationPolicies of the mesh: an edge of the wiring is allowed, every other request is refused with 403.

Every caller is in the mesh, so Knative has no gateway of its own (`config-istio`): the caller's Envoy sends a request
to an instance of the function, or to Knative's activator when there is none or too few (decision 0046). There are two
policies for each function, one at its pods and one at the activator. Both name the caller by its certificate, and
method and path. That of the activator names the host, too; that of the pods also admits the activator, which has
checked the caller.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any, Final

from embedded.policies.edges import BROKER, GATEWAY, SCHEDULE, SOURCE, Call
from embedded.policies.network import FUNCTION
from embedded.policies.systems import ACTIVATOR, METRICS_PORTS, OWN

Resource = dict[str, Any]
PRINCIPALS: Final = {
    GATEWAY: "cluster.local/ns/kong/sa/kong",
    BROKER: "cluster.local/ns/knative-eventing/sa/knative-kafka-broker-data-plane",
    SOURCE: "cluster.local/ns/knative-eventing/sa/knative-kafka-source-data-plane",
    SCHEDULE: "cluster.local/ns/knative-eventing/sa/pingsource-mt-adapter",
}
"""The identity of each caller: the namespace and the service account of its pods."""
ACTIVATOR_PRINCIPAL: Final = "cluster.local/ns/knative-serving/sa/activator"
AUTOSCALER_PRINCIPAL: Final = "cluster.local/ns/knative-serving/sa/controller"
"""The autoscaler and the controller of Knative have one account."""
_FUNCTIONS: Final = {"app.kubernetes.io/part-of": "lastro"}
# Knative joins the address and the path with a slash too many (its scaler.go), and Envoy keeps it.
_PROBES: Final = ["/healthz", "//healthz"]


def authorization(calls: Iterable[Call]) -> list[Resource]:
    """Return the policies of the functions' pods and of Knative's activator."""
    of_functions = [(name, list(of)) for name, of in groupby(sorted(calls, key=_service), key=_service)]
    return [
        _policy(OWN, "deny-all", {}),
        _policy(OWN, "probes-and-metrics", _probes_and_metrics(_FUNCTIONS, METRICS_PORTS)),
        *(_policy(OWN, name, _at_its_pods(name, of)) for name, of in of_functions),
        _policy(ACTIVATOR.namespace, "activator", _probes_and_metrics(dict(ACTIVATOR.labels), METRICS_PORTS[:1])),
        *(_policy(ACTIVATOR.namespace, f"to-{name}", _at_the_activator(name, of)) for name, of in of_functions),
    ]


def _service(call: Call) -> str:
    return call.service


def _at_its_pods(service: str, calls: Sequence[Call]) -> Resource:
    through = {(call.methods, call.paths): _operation(call) for call in calls}
    rules = [
        *(_rule([PRINCIPALS[call.caller]], [_operation(call)]) for call in calls),
        _rule([ACTIVATOR_PRINCIPAL], list(through.values())),
    ]
    return _allow({FUNCTION: service}, rules)


def _at_the_activator(service: str, calls: Sequence[Call]) -> Resource:
    host = f"{service}.{OWN}.svc.cluster.local"
    rules = [_rule([PRINCIPALS[call.caller]], [{"hosts": [host, f"{host}:*"], **_operation(call)}]) for call in calls]
    return _allow(dict(ACTIVATOR.labels), rules)


def _probes_and_metrics(pods: dict[str, str], ports: Sequence[int]) -> Resource:
    """Return a policy for what Knative asks about instances, and for metrics, which Prometheus reads from outside the
    mesh: NetworkPolicies admit only it and the autoscaler to these ports."""
    rules = [
        _rule([ACTIVATOR_PRINCIPAL, AUTOSCALER_PRINCIPAL], [{"methods": ["GET"], "paths": _PROBES}]),
        {"to": [{"operation": {"ports": [str(port) for port in ports]}}]},
    ]
    return _allow(pods, rules)


def _operation(call: Call) -> Resource:
    return {"methods": list(call.methods), "paths": list(call.paths)}


def _rule(principals: list[str], operations: list[Resource]) -> Resource:
    return {
        "from": [{"source": {"principals": principals}}],
        "to": [{"operation": operation} for operation in operations],
    }


def _allow(pods: dict[str, str], rules: list[Resource]) -> Resource:
    return {"selector": {"matchLabels": pods}, "action": "ALLOW", "rules": rules}


def _policy(namespace: str, name: str, spec: Resource) -> Resource:
    return {
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app.kubernetes.io/part-of": "lastro"}},
        "spec": spec,
    }
