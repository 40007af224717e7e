"""Installs Knative, its Kafka broker and the operators of the stores."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import yaml

from deployment import waiting
from deployment.cluster import Kubernetes
from deployment.commands import ROOT, CommandFailed, output_of
from deployment.kind.memory import read_file

KNATIVE: Final = "v1.23.0"
_RELEASES: Final = "https://github.com/knative"
_KAFKA: Final = f"{_RELEASES}-extensions/eventing-kafka-broker/releases/download/knative-{KNATIVE}"
_NAMESPACES: Final = ("knative-serving", "kourier-system", "knative-eventing")
_OPERATORS: Final = "operators"


def knative_serving(cluster: Kubernetes) -> None:
    """Install Knative Serving with Kourier. Raises CommandFailed."""
    serving = f"{_RELEASES}/serving/releases/download/knative-{KNATIVE}"
    _apply_release(cluster, f"{serving}/serving-crds.yaml")
    cluster.wait("Established", "crd", "--all")
    _apply_release(cluster, f"{serving}/serving-core.yaml")
    _apply_release(cluster, f"{_RELEASES}-extensions/net-kourier/releases/download/knative-{KNATIVE}/kourier.yaml")
    _configure(cluster, "config-network", '{"data":{"ingress-class":"kourier.ingress.networking.knative.dev"}}')
    # Images of dev.local are on the node and in no registry.
    _configure(cluster, "config-deployment", '{"data":{"registries-skipping-tag-resolving":"dev.local"}}')


def knative_eventing(cluster: Kubernetes) -> None:
    """Install Knative Eventing with the Kafka broker. Raises CommandFailed."""
    eventing = f"{_RELEASES}/eventing/releases/download/knative-{KNATIVE}"
    _apply_release(cluster, f"{eventing}/eventing-crds.yaml")
    cluster.wait("Established", "crd", "--all")
    _apply_release(cluster, f"{eventing}/eventing-core.yaml")
    for part in ("controller", "broker", "source", "sink"):
        _apply_release(cluster, f"{_KAFKA}/eventing-kafka-{part}.yaml")


def limit_memory(cluster: Kubernetes) -> None:
    """Give each part of Knative the memory of memory.yaml, and wait until Knative is available. Raises
    CommandFailed."""
    for one in read_file()["knative"]:
        amounts = (f"--requests=memory={one['requests']}", f"--limits=memory={one['limits']}")
        cluster.kubectl("set", "resources", one["workload"], f"--namespace={one['namespace']}", *amounts)
    for name in _NAMESPACES:
        waiting.wait(cluster, name, *waiting.AVAILABLE)


def operators(cluster: Kubernetes, context: str, extras: frozenset[str]) -> None:
    """Install the operators, of the versions that Argo CD installs in production, and wait until they are available.
    Raises DeploymentFailed."""
    for command in _operators(context, extras):
        output_of(command)
        waiting.wait(cluster, _OPERATORS, *waiting.AVAILABLE)


def _operators(context: str, extras: frozenset[str]) -> Iterator[list[str]]:
    """Yield the command line of helm for each operator. Its memory is that of memory.yaml."""
    content = read_file()
    sources = _sources()
    charts = dict(content["operators"])
    for extra in extras:
        charts |= content["onRequest"].get(extra, {})
    for chart, containers in charts.items():
        source = sources[chart]
        command = ["helm", "upgrade", "--install", chart, chart, f"--kube-context={context}"]
        command += [f"--repo={source['repoURL']}", f"--version={source['targetRevision']}"]
        command += [f"--namespace={_OPERATORS}", "--create-namespace"]
        command += [f"--set={value}" for value in content["values"][chart]]
        for path, amounts in containers.items():
            command += [f"--set={path}.{kind}.memory={amounts[kind]}" for kind in ("requests", "limits")]
        yield command


def _sources() -> dict[str, Any]:
    text = (ROOT / "knative" / "argo" / "operators.yaml").read_text(encoding="utf-8")
    return {one["spec"]["source"]["chart"]: one["spec"]["source"] for one in yaml.safe_load_all(text)}


def _apply_release(cluster: Kubernetes, url: str) -> None:
    # The first time, a webhook of this file may not answer yet when its own objects are checked.
    try:
        cluster.kubectl("apply", f"--filename={url}")
    except CommandFailed:
        cluster.kubectl("apply", f"--filename={url}")


def _configure(cluster: Kubernetes, name: str, patch: str) -> None:
    cluster.kubectl("patch", "configmap", name, "--namespace=knative-serving", "--type=merge", f"--patch={patch}")
