"""The overlay of the test cluster differs from the others in what docs/cluster.md lists, and in nothing else."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from deployment.commands import DeploymentFailed, kustomize
from shared.core.strict_yaml import read_value, read_values

ROOT = Path(__file__).parents[2]


def _documents(path: str) -> list[dict[str, Any]]:
    return [each for each in read_values((ROOT / path).read_text(encoding="utf-8")) if each]


def test_the_source_reads_every_topic_that_a_kafkasource_reads() -> None:
    """Each topic that a KafkaSource brings to the Broker is an argument of the source in its place."""
    sources = [
        each for each in _documents("kafka-sources/sources.yaml") if each["spec"]["sink"]["ref"]["kind"] == "Broker"
    ]
    topics = sorted(topic for source in sources for topic in source["spec"]["topics"])
    (ours,) = _documents("knative/overlays/test/topic-source.yaml")
    (container,) = ours["spec"]["template"]["spec"]["containers"]
    assert container["args"] == topics


def test_the_source_has_the_rights_of_a_function() -> None:
    """The source runs with the same security context as every function."""
    (ours,) = _documents("knative/overlays/test/topic-source.yaml")
    (container,) = ours["spec"]["template"]["spec"]["containers"]
    common = read_value((ROOT / "knative/functions/kustomization.yaml").read_text(encoding="utf-8"))["patches"][0]
    operations = {each["path"]: each["value"] for each in read_value(common["patch"])}
    prefix = "/spec/template/spec/containers/0"
    assert container["securityContext"] == operations[f"{prefix}/securityContext"]
    assert container["envFrom"] == operations[f"{prefix}/envFrom"]
    assert operations[f"{prefix}/readinessProbe"]["httpGet"] == {"path": "/readyz"}


def test_every_pod_of_the_overlay_is_a_function_or_the_source() -> None:
    """The overlay has no workload whose image is in no package registry: its pods would only take two cores' room."""
    try:
        program = kustomize()
    except DeploymentFailed as error:
        pytest.skip(str(error))
    command = [program, "build", str(ROOT / "knative/overlays/test")]
    rendered = subprocess.run(command, capture_output=True, text=True, check=True)
    resources = [each for each in read_values(rendered.stdout) if each]
    specs = [each["spec"]["template"]["spec"] for each in resources if "template" in each.get("spec", {})]
    assert len(specs) > 100
    assert {container["image"] for spec in specs for container in spec["containers"]} == {"dev.local/lastro:test"}
    assert not [each["metadata"]["name"] for each in resources if each["kind"] == "HorizontalPodAutoscaler"]
