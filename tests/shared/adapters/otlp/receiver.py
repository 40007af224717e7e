"""A small OTLP/HTTP receiver in this process."""

from __future__ import annotations

import gzip
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.waiting import PATIENCE_SECONDS

_UNPACK: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.decompress, "deflate": zlib.decompress}


@dataclass
class Request:
    """A received request."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """The received requests. While `gate` is not set, requests are received and not answered."""

    port: int = 0
    requests: list[Request] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)
    arrived: threading.Condition = field(default_factory=threading.Condition)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def of(self, path: str) -> list[Request]:
        """Return the requests to a path."""
        return [request for request in self.requests if request.path == path]

    def wait_for(self, count: int, path: str = "/v1/traces") -> list[Request]:
        """Wait for `count` requests to a path, and return them."""
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self.of(path)) >= count, PATIENCE_SECONDS), self.requests
        return self.of(path)

    def spans(self, path: str = "/v1/traces") -> list[Span]:
        """Return every received span."""
        found = []
        for request in self.of(path):
            for resource in ExportTraceServiceRequest.FromString(request.body).resource_spans:
                found += [span for scope in resource.scope_spans for span in scope.spans]
        return found

    def metrics(self, path: str = "/v1/metrics") -> dict[str, Metric]:
        """Return the metrics of the last request, by name."""
        return self.all_metrics(path)[-1]

    def all_metrics(self, path: str = "/v1/metrics") -> list[dict[str, Metric]]:
        """Return the metrics of each request, by name."""
        found = []
        for request in self.of(path):
            (resource,) = ExportMetricsServiceRequest.FromString(request.body).resource_metrics
            found.append({metric.name: metric for scope in resource.scope_metrics for metric in scope.metrics})
        return found

    def resource(self) -> dict[str, str]:
        """Return the attributes of the resource of the spans."""
        (resource,) = ExportTraceServiceRequest.FromString(self.of("/v1/traces")[0].body).resource_spans
        attributes: list[KeyValue] = list(resource.resource.attributes)
        return {attribute.key: attribute.value.string_value for attribute in attributes}


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Run a receiver on a free port."""
    receiver = Receiver()
    receiver.gate.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            unpack = _UNPACK.get(self.headers.get("content-encoding", ""), bytes)
            headers = {name.lower(): value for name, value in self.headers.items()}
            with receiver.arrived:
                receiver.requests.append(Request(self.path, headers, unpack(body)))
                receiver.arrived.notify_all()
            receiver.gate.wait(PATIENCE_SECONDS)
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield receiver
    finally:
        receiver.gate.set()
        server.shutdown()
        thread.join()
        server.server_close()
