"""The mesh: who is in it, what it accepts, and that it repeats nothing (decision 0046)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from embedded.policies import systems
from embedded.policies.systems import COLLECTOR, SYSTEMS, Pods
from shared.core.strict_yaml import read_value
from tests.schemas.test_overlays import built
from tests.schemas.test_platform import KNATIVE, PRODUCTION, of_kind, resources

Document = dict[str, Any]
INJECT = "sidecar.istio.io/inject"
STRICT, PERMISSIVE = "STRICT", "PERMISSIVE"
METRICS = {"8100", "9090", "9091"}
CLIENTS = {"8000", "8443"}


def everything() -> Iterator[Document]:
    """Yield what production applies: the functions' overlay and the platform's folders."""
    yield from built("production")
    for folder in PRODUCTION:
        if folder != "platform/kong":
            yield from resources(folder)


def labelled_namespaces() -> set[str]:
    return {
        one["metadata"]["name"]
        for one in everything()
        if one["kind"] == "Namespace" and one["metadata"].get("labels", {}).get("istio-injection") == "enabled"
    }


def is_in_the_mesh(pods: Pods) -> bool:
    """Return whether Istio adds its Envoy to pods: by the label of their namespace, or by their own."""
    if pods.namespace in labelled_namespaces():
        return True
    for one in everything():
        spec = one.get("spec") or {}
        if one["metadata"].get("namespace") != pods.namespace:
            continue
        if one["kind"] in ("Deployment", "StatefulSet"):
            labels = spec["template"]["metadata"]["labels"]
        elif one["kind"] == "OpenTelemetryCollector":
            # The operator puts the resource's labels on the pods, and these names.
            labels = {**one["metadata"].get("labels", {}), "app.kubernetes.io/name": "opentelemetry-collector"}
        else:
            continue
        if dict(pods.labels).items() <= labels.items() and labels.get(INJECT) == "true":
            return True
    return False


def of(kind: str) -> list[Document]:
    return [one for one in everything() if one["kind"] == kind]


def test_every_pod_that_a_policy_names_is_in_the_mesh() -> None:
    """A policy of the mesh that selects a pod, or names a caller, is without effect or refuses everything when the pod
    has no Envoy: all of them have one."""
    named = set()
    for policy in of("AuthorizationPolicy"):
        named.add(policy["metadata"]["namespace"])
        for rule in policy["spec"].get("rules", []):
            for principal in rule["from"][0]["source"]["principals"] if "from" in rule else []:
                domain, _, namespace, _, account = principal.split("/")
                assert domain == "cluster.local"
                assert account
                named.add(namespace)
    assert named == {"lastro", "kong", "knative-serving", "knative-eventing"}
    assert named <= labelled_namespaces()
    for one in of("PeerAuthentication"):
        namespace = one["metadata"]["namespace"]
        assert namespace == "istio-system" or namespace in labelled_namespaces(), namespace


def test_only_metrics_and_clients_come_without_a_certificate() -> None:
    """STRICT is the rule of the mesh and of all that carries requests and events; without a certificate come clients
    to the gateway, Prometheus to metrics, and what Knative's own namespaces serve to the cluster's API."""
    found = {(one["metadata"]["namespace"], one["metadata"]["name"]): one["spec"] for one in of("PeerAuthentication")}
    assert found["istio-system", "default"] == {"mtls": {"mode": STRICT}}
    for (namespace, name), spec in found.items():
        if name == "default" and namespace != "istio-system":
            assert namespace in ("knative-serving", "knative-eventing")
            assert spec == {"mtls": {"mode": PERMISSIVE}}
            continue
        assert spec["mtls"]["mode"] == STRICT, name
        ports = spec.get("portLevelMtls", {})
        assert all(port == {"mode": PERMISSIVE} for port in ports.values())
        assert ports.keys() <= METRICS | (CLIENTS if name == "kong" else set()), name
    strict = [
        (namespace, spec["selector"]["matchLabels"]) for (namespace, _), spec in found.items() if "selector" in spec
    ]
    assert ("knative-serving", {"app": "activator"}) in strict
    assert ("knative-eventing", {"app": "kafka-broker-receiver"}) in strict
    labels = [
        one["spec"]["template"]["metadata"]["labels"] for one in of("Service") if "serving.knative" in one["apiVersion"]
    ]
    assert labels
    assert all(one["app.kubernetes.io/part-of"] == "lastro" for one in labels)
    assert ("lastro", {"app.kubernetes.io/part-of": "lastro"}) in strict


def test_knative_is_told_of_the_mesh() -> None:
    """Knative asks for instances by their Service, as pods have certificates and addresses have none, and has no
    gateway of its own, through which a caller without a certificate would come."""
    settings = of_kind("platform/knative", "ConfigMap")
    network = settings["config-network"]["data"]
    assert network["ingress-class"] == "istio.ingress.networking.knative.dev"
    assert network["mesh-compatibility-mode"] == "enabled"
    assert settings["config-istio"]["data"] == {"external-gateways": "[]", "local-gateways": "[]"}
    assert not of("Gateway")


def test_a_pod_of_the_mesh_needs_no_privilege() -> None:
    """Namespaces that enforce `restricted` accept pods with an Envoy: its network is made by the node's agent, it has
    a seccomp profile, and it is a container that lets Jobs end."""
    applications = of_kind("argo", "Application")
    istiod = applications["istiod"]["spec"]["source"]
    values = istiod["helm"]["valuesObject"]
    assert values["cni"] == {"enabled": True}
    assert values["env"]["ENABLE_NATIVE_SIDECARS"] == "true"
    assert values["global"]["proxy"]["seccompProfile"] == {"type": "RuntimeDefault"}
    agent = applications["istio-cni"]
    assert (agent["spec"]["source"]["chart"], agent["spec"]["source"]["targetRevision"]) == (
        "cni",
        istiod["targetRevision"],
    )
    assert agent["spec"]["destination"]["namespace"] == "istio-system"


@pytest.mark.parametrize("pods", [SYSTEMS["unleash"].pods, COLLECTOR.pods], ids=lambda pods: pods.namespace)
def test_a_system_without_tls_of_its_own_is_in_the_mesh(pods: Pods) -> None:
    """What functions and the gateway ask of Unleash and the collector is encrypted by the mesh, and the functions'
    Envoys know both."""
    assert is_in_the_mesh(pods)
    (sidecar,) = of("Sidecar")
    assert f"{pods.namespace}/*" in sidecar["spec"]["egress"][0]["hosts"]


def test_the_callers_of_functions_are_in_the_mesh() -> None:
    """The gateway, the data plane of events, the activator and the autoscaler have an Envoy, as the functions have."""
    for pods in (systems.GATEWAY, systems.EVENTING, systems.ACTIVATOR, systems.AUTOSCALER, Pods(systems.OWN, {})):
        assert is_in_the_mesh(pods), pods
    assert not is_in_the_mesh(SYSTEMS["mongodb"].pods)


def test_requests_are_never_repeated_by_the_mesh() -> None:
    """The mesh and the gateway repeat a request only where no server has seen it, and take failing instances out for a
    time."""
    istiod = of_kind("argo", "Application")["istiod"]
    retries = istiod["spec"]["source"]["helm"]["valuesObject"]["meshConfig"]["defaultHttpRetryPolicy"]
    assert retries == {"attempts": 2, "retryOn": "connect-failure,refused-stream"}
    # A VirtualService has retries of its own. Those that net-istio makes have none.
    assert not of("VirtualService")
    rule = of_kind("platform/istio", "DestinationRule")["functions"]["spec"]
    assert rule["host"] == "*.lastro.svc.cluster.local"
    outliers = rule["trafficPolicy"]["outlierDetection"]
    assert outliers["maxEjectionPercent"] == 50
    assert outliers["consecutive5xxErrors"] == 5
    kong = read_value((KNATIVE / "platform/kong/kong.yaml").read_text())
    assert all("retries" not in service for service in kong["services"])
    (container, _) = of_kind("platform/kong", "Deployment")["kong"]["spec"]["template"]["spec"]["containers"]
    variables = {one["name"]: one["value"] for one in container["env"]}
    # nginx repeats neither a POST nor what a server has answered, unless it is told to.
    assert variables["KONG_NGINX_PROXY_PROXY_NEXT_UPSTREAM"] == "error timeout"
