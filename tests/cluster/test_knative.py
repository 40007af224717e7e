"""Knative's manifests are fitted to a cluster of two cores with images that were built here."""

from __future__ import annotations

from typing import Any

from tests.cluster.images import ENVOY_IMAGE, image_of
from tests.cluster.knative import fitted


def _deployment(**container: Any) -> dict[str, Any]:
    given = {"name": "c", "image": "dev.local/kn-serving-controller:local", **container}
    return {"kind": "Deployment", "metadata": {"name": "d"}, "spec": {"template": {"spec": {"containers": [given]}}}}


def _container(resource: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = resource["spec"]["template"]["spec"]["containers"][0]
    return found


def test_a_program_has_the_image_that_is_built_here() -> None:
    """The package of a program leads to its image, and a package that is not built has none."""
    assert image_of("knative.dev/serving/cmd/queue") == "dev.local/kn-serving-queue:local"
    assert image_of("knative.dev/eventing/cmd/broker/filter") == "dev.local/kn-eventing-broker-filter:local"
    assert image_of("knative.dev/eventing/cmd/schema") is None


def test_a_component_is_small_and_quickly_ready() -> None:
    """Requests are small, no processor limit is left, and readiness is asked for every second."""
    limits = {"cpu": "1", "memory": "1Gi"}
    fit = fitted(_deployment(resources={"limits": limits}, readinessProbe={"initialDelaySeconds": 5}))
    assert _container(fit)["resources"] == {"limits": {"memory": "1Gi"}, "requests": {"cpu": "10m", "memory": "32Mi"}}
    assert _container(fit)["readinessProbe"] == {"periodSeconds": 1, "timeoutSeconds": 5, "failureThreshold": 300}
    assert fit["spec"]["replicas"] == 1


def test_a_component_without_an_image_is_not_started() -> None:
    """A Deployment whose program is not built here has no replicas: its pods would wait for an image for ever."""
    assert fitted(_deployment(image="dev.local/unbuilt:local"))["spec"]["replicas"] == 0


def test_envoy_has_no_shell_for_its_hook() -> None:
    """Kourier's gateway gets the image with Envoy alone, and loses the hook that runs a shell."""
    fit = _container(fitted(_deployment(image="envoyproxy/envoy:v1.34", lifecycle={"preStop": {}})))
    assert fit["image"] == ENVOY_IMAGE
    assert "lifecycle" not in fit


def test_an_image_from_an_absent_map_has_a_value() -> None:
    """A variable that would be read from a map that the module lacks gets a value: the container would not start."""
    reference = {"configMapKeyRef": {"name": "eventing-integrations-images", "key": "k"}}
    fit = _container(fitted(_deployment(env=[{"name": "A", "valueFrom": reference}])))
    assert fit["env"] == [{"name": "A", "value": "dev.local/unbuilt:local"}]


def test_serving_uses_kourier() -> None:
    """The settings of this cluster are added to those of the map."""
    resource = {"kind": "ConfigMap", "metadata": {"name": "config-network"}, "data": {"other": "x"}}
    assert fitted(resource)["data"] == {"other": "x", "ingress-class": "kourier.ingress.networking.knative.dev"}


def test_a_queue_proxy_asks_for_little_processor_time() -> None:
    """Knative's queue proxies ask for so little that a hundred functions in two revisions fit on two cores."""
    fit = fitted({"kind": "ConfigMap", "metadata": {"name": "config-deployment"}, "data": {}})
    assert fit["data"]["queue-sidecar-cpu-request"] == "1m"
