"""What measures the functions of the test cluster: a collector, Prometheus, and the lag of Kafka's consumers.

They run on the machine, and pods reach them by the names that they have in production. The collector has the part of
knative/platform/observability/collector.yaml that metrics pass through.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import yaml

from deployment.commands import ROOT
from tests.cluster.cluster import Cluster
from tests.cluster.debian_packages import unpacked
from tests.cluster.go_programs import COLLECTOR, built
from tests.cluster.places import HOST_ADDRESS
from tests.servers.processes import Processes

_COLLECTOR_FILE: Final = ROOT / "knative" / "platform" / "observability" / "collector.yaml"
_NAMESPACE: Final = "observability"
# The link belongs to one cluster, so nothing else listens on it.
_COLLECTS: Final = 4318
_PROMETHEUS: Final = 9090
_LAG: Final = 9308
PROMETHEUS_URL: Final = f"http://{HOST_ADDRESS}:{_PROMETHEUS}"


def collector_config(deployed: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration of the collector for this machine: the pipeline of metrics of the deployed one."""
    pipeline = deployed["service"]["pipelines"]["metrics"]
    # One of those to the two Prometheus: here is one.
    exporter, *_ = pipeline["exporters"]
    return {
        "receivers": {"otlp": {"protocols": {"http": {"endpoint": f"{HOST_ADDRESS}:{_COLLECTS}"}}}},
        "processors": {name: deployed["processors"][name] for name in pipeline["processors"]},
        "exporters": {exporter: {**deployed["exporters"][exporter], "endpoint": f"{PROMETHEUS_URL}/api/v1/write"}},
        "service": {
            "pipelines": {"metrics": {**pipeline, "exporters": [exporter]}},
            "telemetry": {"metrics": {"level": "none"}},
        },
    }


@contextmanager
def observing(cluster: Cluster, urls: Mapping[str, str]) -> Iterator[None]:
    """Run them, and let the cluster know them by name, until the end. Raises Unavailable."""
    prometheus = unpacked("trixie", ["prometheus"], cache=cluster.cache) / "usr" / "bin" / "prometheus"
    collector = built(COLLECTOR, cache=cluster.cache) / "collector"
    processes = Processes(cluster.state / "observing")
    try:
        _start_prometheus(processes, prometheus)
        _start_collector(processes, collector)
        kafka = urls["LASTRO_BUS"].removeprefix("kafka://")
        command = [sys.executable, "-m", "tests.cluster.kafka_lag", kafka, HOST_ADDRESS, str(_LAG)]
        processes.start("lag", command, cwd=ROOT)
        processes.wait_until(lambda: _get(f"http://{HOST_ADDRESS}:{_LAG}/metrics"), "the lag of Kafka's consumers")
        cluster.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": _NAMESPACE}}])
        cluster.apply(_named("prometheus", _PROMETHEUS))
        cluster.apply(_named("opentelemetry-collector", _COLLECTS))
        yield
    finally:
        processes.stop()


def _start_prometheus(processes: Processes, program: Path) -> None:
    config = processes.folder / "prometheus.yml"
    scraped = {"job_name": "kafka", "static_configs": [{"targets": [f"{HOST_ADDRESS}:{_LAG}"]}]}
    intervals = {"scrape_interval": "5s", "scrape_timeout": "5s"}
    config.write_text(yaml.safe_dump({"global": intervals, "scrape_configs": [scraped]}), encoding="utf-8")
    options = {
        "config.file": config,
        "storage.tsdb.path": processes.data,
        "web.listen-address": f"{HOST_ADDRESS}:{_PROMETHEUS}",
    }
    arguments = [f"--{name}={value}" for name, value in options.items()]
    processes.start("prometheus", [str(program), *arguments, "--web.enable-remote-write-receiver"])
    processes.wait_until(lambda: _get(f"{PROMETHEUS_URL}/-/ready"), "Prometheus")


def _start_collector(processes: Processes, program: Path) -> None:
    deployed = yaml.safe_load(_COLLECTOR_FILE.read_text(encoding="utf-8"))["spec"]["config"]
    config = processes.folder / "collector.yaml"
    config.write_text(yaml.safe_dump(collector_config(deployed)), encoding="utf-8")
    processes.start("collector", [str(program), f"--config=file:{config}"])
    # It answers a request without a body with 4xx.
    url = f"http://{HOST_ADDRESS}:{_COLLECTS}/v1/metrics"
    processes.wait_until(lambda: httpx.get(url, trust_env=False), "the collector")


def _get(url: str) -> None:
    httpx.get(url, timeout=60, trust_env=False).raise_for_status()


def _named(name: str, port: int) -> list[dict[str, Any]]:
    """Return a Service, and the address on this machine that it stands for."""
    metadata = {"name": name, "namespace": _NAMESPACE}
    ports = [{"name": "http", "port": port}]
    return [
        {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": ports}},
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {**metadata, "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4",
            "ports": ports,
            "endpoints": [{"addresses": [HOST_ADDRESS], "conditions": {"ready": True}}],
        },
    ]
