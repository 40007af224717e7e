"""What measures the functions of the test cluster has the names and the pipeline of the deployed monitoring."""

from __future__ import annotations

from pathlib import Path

from aiokafka import TopicPartition

from shared.core.strict_yaml import read_value
from tests.cluster.kafka_lag import metrics
from tests.cluster.observing import collector_config

ROOT = Path(__file__).parents[2]


def test_the_collector_has_the_deployed_pipeline_of_metrics() -> None:
    """Metrics pass through the processors and the exporter of the deployed collector; only addresses differ."""
    file = ROOT / "knative/platform/observability/collector.yaml"
    deployed = read_value(file.read_text(encoding="utf-8"))["spec"]["config"]
    config = collector_config(deployed)
    pipeline = deployed["service"]["pipelines"]["metrics"]
    assert config["service"]["pipelines"] == {"metrics": {**pipeline, "exporters": pipeline["exporters"][:1]}}
    (exporter,) = config["exporters"].values()
    assert exporter["resource_to_telemetry_conversion"] == {"enabled": True}
    assert exporter["endpoint"].endswith("/api/v1/write")


def test_the_lag_is_what_a_group_has_not_read() -> None:
    """A partition's lag is its end less the committed offset, and not below 0 when the end was read before it."""
    first, second = TopicPartition("t", 0), TopicPartition("t", 1)
    lines = list(metrics({"g": {first: 7, second: 9}}, {first: 10, second: 8}))
    assert 'kafka_consumergroup_lag{consumergroup="g",topic="t",partition="0"} 3\n' in lines
    assert 'kafka_consumergroup_lag{consumergroup="g",topic="t",partition="1"} 0\n' in lines
    assert 'kafka_consumergroup_current_offset{consumergroup="g",topic="t",partition="1"} 9\n' in lines
