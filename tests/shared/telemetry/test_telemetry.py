"""What a process measures of itself, and how it is sent."""

from __future__ import annotations

import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from shared.adapters.otlp import export as otlp
from shared.telemetry.recorder import BUCKETS_SECONDS, Histogram, Telemetry

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_a_trace_is_carried_on() -> None:
    """A child keeps its parent's trace and flags and has a span of its own."""
    child = Telemetry(Random(1), 0.0).trace(PARENT)
    assert child[:36] == PARENT[:36]
    assert child[36:52] != PARENT[36:52]
    assert child.endswith("-01")


@pytest.mark.parametrize("parent", [None, "", "nonsense", f"00-{'0' * 32}-00f067aa0ba902b7-01"])
def test_without_a_parent_a_trace_begins(parent: str | None) -> None:
    """A missing or invalid traceparent starts a new trace, sampled by the ratio."""
    assert Telemetry(Random(1), 1.0).trace(parent).endswith("-01")
    assert Telemetry(Random(1), 0.0).trace(parent).endswith("-00")


def test_a_histogram_counts_by_upper_edges() -> None:
    """A value on an edge belongs below it, and what is above the last edge has a place of its own."""
    histogram = Histogram()
    for seconds in (0.3, 0.300001, 60.0):
        histogram.record(seconds)
    assert histogram.counts[BUCKETS_SECONDS.index(0.3)] == 1
    assert histogram.counts[BUCKETS_SECONDS.index(0.5)] == 1
    assert histogram.counts[-1] == 1


def test_without_an_endpoint_nothing_is_sent() -> None:
    """OpenTelemetry's own variables decide."""
    telemetry = Telemetry(Random(1), 1.0)
    assert otlp.connect(telemetry, {}) is None
    endpoint = "http://127.0.0.1:9"
    assert otlp.connect(telemetry, {"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}) is None


def test_spans_and_metrics_reach_a_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sampled span with its parent, and each histogram with its counts, arrive; an unsampled span does not."""
    received: dict[str, list[bytes]] = {}

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            received.setdefault(self.path, []).append(body)
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        telemetry = Telemetry(Random(1), 0.0)
        link = otlp.connect(telemetry, {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{server.server_port}"})
        assert link is not None
        telemetry.record_http("payments/create_payment", 201, 0.02, telemetry.trace(PARENT), PARENT)
        telemetry.record_http("payments/create_payment", 201, 0.02, telemetry.trace(None), None)
        telemetry.count("replays", "payments")
        link.close()
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    traces = ExportTraceServiceRequest.FromString(received["/v1/traces"][0])
    (span,) = traces.resource_spans[0].scope_spans[0].spans
    assert span.name == "payments/create_payment"
    assert span.trace_id.hex() == PARENT[3:35]
    assert span.parent_span_id.hex() == PARENT[36:52]
    metrics = ExportMetricsServiceRequest.FromString(received["/v1/metrics"][-1])
    by_name = {metric.name: metric for metric in metrics.resource_metrics[0].scope_metrics[0].metrics}
    assert by_name["http.server.request.duration"].histogram.data_points[0].count == 2
    assert by_name["lastro.replays"].sum.data_points[0].as_int == 1
