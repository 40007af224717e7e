"""The systems around the functions on a cluster: the namespace, pods and ports of each (knative/platform)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple


class Pods(NamedTuple):
    """Pods of one namespace: those with all of these labels; without labels all of them."""

    namespace: str
    labels: Mapping[str, str]


class System(NamedTuple):
    """A system that functions use."""

    name: str
    """As in the label `lastro.dev/uses-<name>` of a function's pods."""
    pods: Pods
    ports: tuple[int, ...]
    why: str
    also: tuple[Pods, ...] = ()
    """Who uses it besides functions."""


OWN: Final = "lastro"
"""The namespace of the functions."""
GATEWAY: Final = Pods("kong", {"app.kubernetes.io/name": "kong"})
INGRESS: Final = Pods("kourier-system", {"app": "3scale-kourier-gateway"})
"""Knative's own ingress where there is no mesh: requests and events reach a function through it. In the mesh the
callers reach it themselves."""
ACTIVATOR: Final = Pods("knative-serving", {"app": "activator"})
AUTOSCALER: Final = Pods("knative-serving", {"app": "autoscaler"})
PROMETHEUS: Final = Pods("observability", {"app.kubernetes.io/name": "prometheus"})
LOKI: Final = Pods("observability", {"app.kubernetes.io/name": "loki"})
LOGS: Final = Pods("logging", {"app.kubernetes.io/name": "logs-collector"})
"""Reads the logs of each node and sends them to Loki."""
RELEASE: Final = Pods("lastro-release", {"app.kubernetes.io/name": "release-controller"})
"""Asks Prometheus how a release does."""
DNS: Final = Pods("kube-system", {"k8s-app": "kube-dns"})
MESH: Final = Pods("istio-system", {"app": "istiod"})
EVENTING: Final = Pods("knative-eventing", {})
"""The data plane of Broker, Triggers and KafkaSources, and the adapter of the PingSources."""
EXTERNAL_SECRETS: Final = Pods("external-secrets", {})
OPERATORS: Final = Pods("operators", {})
"""The operators that install and watch the stores."""


SYSTEMS: Final = {
    system.name: system
    for system in (
        System("mongodb", Pods("mongodb", {"app.kubernetes.io/component": "mongos"}), (27017,), "documents"),
        System("cassandra", Pods("cassandra", {"app.kubernetes.io/managed-by": "cass-operator"}), (9042,), "ledger"),
        System("redis", Pods("redis", {"app.kubernetes.io/name": "redis"}), (6379, 26379), "cache, nonces, limits"),
        # 9093 with TLS and a login; 9092 is that of kind.
        System("kafka", Pods("kafka", {"strimzi.io/cluster": "lastro"}), (9092, 9093), "events", (EVENTING,)),
        System(
            "vault",
            Pods("vault", {"app.kubernetes.io/name": "vault"}),
            (8200,),
            "secrets and keys",
            (EXTERNAL_SECRETS,),
        ),
        System("unleash", Pods("unleash", {"app.kubernetes.io/name": "unleash"}), (4242,), "flags"),
        System(
            "keycloak",
            Pods("keycloak", {"app.kubernetes.io/name": "keycloak"}),
            (8080, 8443),
            "keys of the realm, clients of tenants",
            (GATEWAY,),
        ),
    )
}
"""The systems that only some functions use."""

COLLECTOR: Final = System(
    "collector",
    Pods("observability", {"app.kubernetes.io/name": "opentelemetry-collector"}),
    (4318,),
    "traces and metrics",
)
"""Every function and the gateway send to it."""

INTERNET: Final = {
    "providers": ((443,), "rails of payment providers"),
    "notifications": ((443, 465, 587), "gateways of messages to persons"),
    "webhooks": ((443,), "endpoints of tenants"),
}
"""Public addresses that some functions use, by the name in the label: their ports, and what for."""

PRIVATE_NETWORKS: Final = (
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
    *("192.0.0.0/24", "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4"),
)
"""Addresses that are never those of a provider or of a tenant's endpoint (RFC 6890)."""

SYSTEM_OF_PORT: Final = {
    "documents": "mongodb",
    "ledger": "cassandra",
    "cache": "redis",
    "nonces": "redis",
    "bus": "kafka",
    "secrets": "vault",
    "flags": "unleash",
    "identity": "keycloak",
    "rails": "providers",
    "notifiers": "notifications",
    "outgoing": "webhooks",
}
"""The system behind each port of shared/ports on a cluster."""

QUEUE_PORTS: Final = (8012, 8013, 8112)
"""Where a pod's queue-proxy takes requests: HTTP/1, HTTP/2 and TLS."""
METRICS_PORTS: Final = (9090, 9091)
"""Where it shows what the autoscaler and Prometheus read."""
PROMETHEUS_PORTS: Final = (9090,)
"""Where Prometheus answers queries."""
LOKI_PORTS: Final = (3100,)
"""Where Loki takes logs."""
INGRESS_PORTS: Final = (8081,)
"""Where Kourier takes requests for cluster-local addresses."""
MESH_PORTS: Final = (15012,)
DNS_PORTS: Final = (53,)
