"""Knative's own manifests, out of the source of its Go modules, for the images that are built here.

Symbolic links of the repositories are not in module archives: what they point at is taken from
`knative.dev/networking` and `knative.dev/caching`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from tests.cluster.go_programs import EVENTING, KOURIER, SERVING, GoModule, source_of, version_required
from tests.cluster.images import ENVOY_IMAGE, image_of

Resource = dict[str, Any]
NAMESPACES: Final = ("knative-serving", "kourier-system", "knative-eventing")
_IMAGE: Final = re.compile(r"ko://([\w./-]+)")
_ENVOY: Final = re.compile(r"^(?:[\w.]+/)?envoyproxy/")
_UNBUILT: Final = "dev.local/unbuilt:local"
# Maps that name images of Camel integrations and of JSONata; they are no part of the module.
_ABSENT_MAPS: Final = ("eventing-transformations-images", "eventing-integrations-images")
_ORDER: Final = (
    *("Namespace", "CustomResourceDefinition", "ServiceAccount", "ClusterRole", "Role", "ClusterRoleBinding"),
    *("RoleBinding", "ConfigMap", "Secret", "Service", "Deployment", "StatefulSet"),
)
_READY_WITHIN: Final = 300
"""How often the readiness of a component of Knative may be asked for, a second apart."""


def manifests() -> tuple[list[Resource], list[Resource], list[Resource]]:
    """Return three lists, in the order of their application: definitions with namespaces, what they need, and the rest.

    The last has the resources whose own definitions and webhooks are in the others. Raises Unavailable.
    """
    resources = [fitted(each) for each in _all()]
    resources.sort(key=lambda each: _ORDER.index(each["kind"]) if each["kind"] in _ORDER else len(_ORDER))
    first = [each for each in resources if each["kind"] in ("Namespace", "CustomResourceDefinition")]
    last = [each for each in resources if each["kind"] == "Image"]
    return first, [each for each in resources if each not in first and each not in last], last


def fitted(resource: Resource) -> Resource:
    """Return a resource with the settings of this cluster: small requests, quick readiness, images that are here."""
    kind, name = resource["kind"], resource["metadata"]["name"]
    if kind == "ConfigMap" and name in _SETTINGS:
        resource["data"] = {**(resource.get("data") or {}), **_SETTINGS[name]}
    if kind in ("Deployment", "StatefulSet"):
        spec = resource["spec"]["template"]["spec"]
        for container in spec["containers"]:
            _fit(container)
        unbuilt = any(container["image"] == _UNBUILT for container in spec["containers"])
        resource["spec"]["replicas"] = 0 if unbuilt else 1
    return resource


_SETTINGS: Final[Mapping[str, Mapping[str, str]]] = {
    "config-network": {"ingress-class": "kourier.ingress.networking.knative.dev"},
    # The shortest times that Serving accepts, so that a test sees the scale to zero.
    "config-autoscaler": {
        "stable-window": "6s",
        "scale-to-zero-grace-period": "6s",
        "allow-zero-initial-scale": "true",
    },
    # A queue proxy stands beside each of a hundred functions, in two revisions while one takes over from the other.
    "config-deployment": {"queue-sidecar-cpu-request": "1m"},
    "config-features": {
        "kubernetes.podspec-securitycontext": "enabled",
        "kubernetes.podspec-fieldref": "enabled",
        "kubernetes.podspec-topologyspreadconstraints": "enabled",
    },
}


def _fit(container: dict[str, Any]) -> None:
    container["imagePullPolicy"] = "IfNotPresent"
    if _ENVOY.match(container["image"]):
        container["image"] = ENVOY_IMAGE
        container.pop("lifecycle", None)  # its hook is a shell, which this image does not have
    for variable in container.get("env", []):
        if variable.get("valueFrom", {}).get("configMapKeyRef", {}).get("name") in _ABSENT_MAPS:
            del variable["valueFrom"]
            variable["value"] = _UNBUILT
    resources = container.setdefault("resources", {})
    resources["requests"] = {"cpu": "10m", "memory": "32Mi"}
    resources.get("limits", {}).pop("cpu", None)
    for probe in (container[name] for name in ("readinessProbe", "startupProbe") if name in container):
        probe.update(periodSeconds=1, timeoutSeconds=5, failureThreshold=_READY_WITHIN)
        probe.pop("initialDelaySeconds", None)
    if "livenessProbe" in container:
        container["livenessProbe"].update(initialDelaySeconds=60, timeoutSeconds=10, failureThreshold=30)


def _all() -> Iterator[Resource]:
    serving, eventing, kourier = (source_of(each.module, each.version) for each in (SERVING, EVENTING, KOURIER))
    networking, caching = (_beside(SERVING, name) for name in ("knative.dev/networking", "knative.dev/caching"))
    yield from _read(serving, "config/core")
    yield from _read(networking, "config")
    yield from _read(caching, "config")
    yield from _read(kourier, "config")
    for folder in ("core", "brokers/mt-channel-broker", "channels/in-memory-channel"):
        yield from _read(eventing, f"config/{folder}")


def _beside(module: GoModule, name: str) -> Path:
    return source_of(name, version_required(module, name))


def _read(source: Path, folder: str) -> Iterator[Resource]:
    found = sorted((source / folder).rglob("*.yaml"))
    yield from _resources(path.read_text(encoding="utf-8") for path in found)


def _resources(texts: Iterable[str]) -> Iterator[Resource]:
    for text in texts:
        for resource in yaml.safe_load_all(_IMAGE.sub(lambda found: image_of(found[1]) or _UNBUILT, text)):
            # Two cores have to do: the platform is neither scaled nor protected from a drain.
            if resource and resource["kind"] not in ("HorizontalPodAutoscaler", "PodDisruptionBudget"):
                yield resource
