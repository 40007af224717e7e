"""AuthorizationPolicies of the mesh: an edge of the wiring is allowed, every other request is refused with 403.

Requests reach a function through Knative's local gateway, which is the ingress gateway of Istio. There the caller's
identity is that of its certificate, so the policy of a function names caller, host, method and path. The pods of the
functions accept only that gateway and Knative's activator.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Any, Final

from embedded.policies.edges import BROKER, GATEWAY, SCHEDULE, Call
from embedded.policies.systems import OWN

Resource = dict[str, Any]
PRINCIPALS: Final = {
    GATEWAY: "cluster.local/ns/kong/sa/kong",
    BROKER: "cluster.local/ns/knative-eventing/sa/knative-kafka-broker-data-plane",
    SCHEDULE: "cluster.local/ns/knative-eventing/sa/pingsource-mt-adapter",
}
"""The identity of each caller: the namespace and the service account of its pods."""
INGRESS_PRINCIPAL: Final = "cluster.local/ns/istio-system/sa/istio-ingressgateway"
_ACTIVATOR: Final = "cluster.local/ns/knative-serving/sa/activator"
_AUTOSCALER: Final = "cluster.local/ns/knative-serving/sa/controller"
_PROMETHEUS: Final = "cluster.local/ns/observability/sa/prometheus"
_COLLECTOR_PORTS: Final = ["9090", "9091", "15020", "15090"]


def authorization(calls: Iterable[Call]) -> list[Resource]:
    """Return a policy for each function at the local gateway, and those of the functions' namespace."""
    return [
        *(_of_function(service, list(of)) for service, of in groupby(sorted(calls, key=_service), key=_service)),
        _policy(OWN, "deny-all", {}),
        _policy(
            OWN,
            "functions-from-knative",
            {
                "action": "ALLOW",
                "rules": [
                    {"from": [{"source": {"principals": [INGRESS_PRINCIPAL, _ACTIVATOR]}}]},
                    {
                        "from": [{"source": {"principals": [_AUTOSCALER, _PROMETHEUS]}}],
                        "to": [{"operation": {"ports": _COLLECTOR_PORTS}}],
                    },
                ],
            },
        ),
    ]


def _service(call: Call) -> str:
    return call.service


def _of_function(service: str, calls: list[Call]) -> Resource:
    host = f"{service}.{OWN}.svc.cluster.local"
    rules = [
        {
            "from": [{"source": {"principals": [PRINCIPALS[call.caller]]}}],
            "to": [
                {
                    "operation": {
                        "hosts": [host, f"{host}:*"],
                        "methods": list(call.methods),
                        "paths": list(call.paths),
                    }
                }
            ],
        }
        for call in calls
    ]
    spec = {"selector": {"matchLabels": {"istio": "ingressgateway"}}, "action": "ALLOW", "rules": rules}
    return _policy("istio-system", service, spec)


def _policy(namespace: str, name: str, spec: Resource) -> Resource:
    return {
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app.kubernetes.io/part-of": "lastro"}},
        "spec": spec,
    }
