"""The overlay of the test cluster differs from the others in what docs/cluster.md lists, and in nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]


def _documents(path: str) -> list[dict[str, Any]]:
    return [each for each in yaml.safe_load_all((ROOT / path).read_text(encoding="utf-8")) if each]


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
    common = yaml.safe_load((ROOT / "knative/functions/kustomization.yaml").read_text(encoding="utf-8"))["patches"][0]
    operations = {each["path"]: each["value"] for each in yaml.safe_load(common["patch"])}
    prefix = "/spec/template/spec/containers/0"
    assert container["securityContext"] == operations[f"{prefix}/securityContext"]
    assert container["envFrom"] == operations[f"{prefix}/envFrom"]
    assert operations[f"{prefix}/readinessProbe"]["httpGet"] == {"path": "/readyz"}
