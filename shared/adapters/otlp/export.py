"""Export of traces and metrics over OTLP/HTTP, when OpenTelemetry's own environment variables name an endpoint.

Sampled spans are converted to SDK spans and sent by the SDK's batch processor. At each interval, metrics are read
from the dictionaries of Telemetry and sent as cumulative histograms and sums. A handler only hands over its sampled
span; all other work is done in a thread.

The first point of a series is 0, at the time of the sending before. Prometheus' `increase` and `rate` see only what
changes between two points, so without it the first observations of a new revision would not be counted.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from shared.adapters.otlp.variables import OtlpVariables
from shared.core.settings import InvalidSettings
from shared.ports.lifecycle import Adapter
from shared.telemetry.recorder import BUCKETS_SECONDS, Histogram, Telemetry

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import Metric
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

log = logging.getLogger(__name__)
CLOSE_SECONDS: Final = 1.0
_NANOSECONDS: Final = 1_000_000_000
_UNNAMED: Final = "unknown_service"


def exporter(telemetry: Telemetry, variables: OtlpVariables) -> OtlpLink | None:
    """Return the export that the variables describe, or None without one. Raises InvalidSettings."""
    if not variables.traces and not variables.metrics:
        return None
    try:
        return OtlpLink(telemetry, variables)
    except ValueError as error:
        raise InvalidSettings(f"OTEL_*: {error}") from None


def _resource() -> Resource:
    """Return the resource of spans and metrics. Its service name is from OTEL_RESOURCE_ATTRIBUTES or
    OTEL_SERVICE_NAME, or else the Knative Service's name, or else `lastro`.

    In a revision of a Knative Service, `service.version` is the revision, by whose figures a release is judged.
    """
    from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, SERVICE_VERSION, Resource

    # Older versions of the SDK do not tell the pods of a revision apart; their counts would be one series.
    found = Resource({SERVICE_INSTANCE_ID: str(uuid4())}).merge(Resource.create())
    revision = os.environ.get("K_REVISION")
    if revision:
        found = Resource({SERVICE_VERSION: revision}).merge(found)
    if str(found.attributes[SERVICE_NAME]).startswith(_UNNAMED):
        found = found.merge(Resource({SERVICE_NAME: os.environ.get("K_SERVICE") or "lastro"}))
    return found


class OtlpLink(Adapter):
    """The exporters of the SDK. They read their endpoints, headers and intervals from the environment.

    It sends from its opening on, and sends the rest when it is closed. Opening raises InvalidSettings.
    """

    adapter_name = "OTLP export"

    def __init__(self, telemetry: Telemetry, variables: OtlpVariables) -> None:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        self._telemetry = telemetry
        self._resource = _resource()
        self._metrics = OTLPMetricExporter() if variables.metrics else None
        self._traces = OTLPSpanExporter() if variables.traces else None
        self._spans: BatchSpanProcessor | None = None
        self._started_at = self._read_at = time.time_ns()
        self._known: set[tuple[str, frozenset[tuple[str, Any]]]] = set()
        """Each series that was sent, by the metric's name and its attributes."""
        self._interval = variables.metric_seconds
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._send_metrics, name="otlp-metrics", daemon=True)

    async def _open(self, closing: AsyncExitStack) -> None:
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        closing.push_async_callback(self._send_rest)
        if self._metrics is not None:
            self._thread.start()
        if self._traces is not None:
            try:
                self._spans = BatchSpanProcessor(self._traces)
            except ValueError as error:
                raise InvalidSettings(f"OTEL_*: {error}") from None
            self._telemetry.export_to(self)

    def export(
        self, name: str, kind: str, traceparent: str, parent: str | None, seconds: float, attributes: dict[str, Any]
    ) -> None:
        """Pass one finished span to the batch processor."""
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.trace import SpanKind

        self.require_open()
        ended_at = time.time_ns()
        assert self._spans is not None
        self._spans.on_end(
            ReadableSpan(
                name=name,
                context=_span_context(traceparent),
                parent=_span_context(parent) if parent else None,
                resource=self._resource,
                attributes=attributes,
                kind=SpanKind.SERVER if kind == "server" else SpanKind.CONSUMER,
                start_time=ended_at - int(seconds * _NANOSECONDS),
                end_time=ended_at,
            )
        )

    async def _send_rest(self) -> None:
        """Send the remaining spans and metrics, for at most one second, so that a blocked collector does not delay the
        end."""
        self._telemetry.export_to(None)
        closing = threading.Thread(target=self._close, name="otlp-close", daemon=True)
        closing.start()
        give_up = time.monotonic() + min(self.close_seconds, CLOSE_SECONDS)
        while closing.is_alive() and time.monotonic() < give_up:  # noqa: ASYNC110 - a thread, which sets no event
            await asyncio.sleep(0.01)
        if closing.is_alive():
            log.warning("the last spans and metrics were not sent: the collector did not accept them in time")

    def _close(self) -> None:
        self._stopping.set()
        if self._spans is not None:
            self._spans.shutdown()  # type: ignore[no-untyped-call]  # the SDK has no annotations for this method
        if self._metrics is not None:
            if self._thread.ident is not None:
                self._thread.join()
            self._metrics.shutdown()

    def _send_metrics(self) -> None:
        while not self._stopping.wait(self._interval):
            self._send_once()
        self._send_once()

    def _send_once(self) -> None:
        from opentelemetry.sdk.metrics.export import MetricsData, ResourceMetrics, ScopeMetrics
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope

        scope = InstrumentationScope("lastro")
        assert self._metrics is not None
        try:
            metrics = self._read()
            data = MetricsData([ResourceMetrics(self._resource, [ScopeMetrics(scope, metrics, "")], "")])
            self._metrics.export(data)
        except Exception:
            # A missing collector must not end the thread. The SDK's exporter has logged the error.
            log.exception("metrics could not be sent")

    def _read(self) -> list[Metric]:
        telemetry = self._telemetry
        now = time.time_ns()
        metrics = [
            self._histogram(
                now,
                "http.server.request.duration",
                [
                    ({"lastro.operation": operation, "http.response.status_code": status}, histogram)
                    for (operation, status), histogram in _items(telemetry.http)
                ],
            ),
            self._histogram(
                now,
                "messaging.process.duration",
                [
                    ({"lastro.consumer": consumer, "cloudevents.event_type": type_, "lastro.status": status}, histogram)
                    for (consumer, type_, status), histogram in _items(telemetry.events)
                ],
            ),
            self._histogram(
                now,
                "lastro.event.age",
                [({"lastro.consumer": consumer}, histogram) for consumer, histogram in _items(telemetry.event_age)],
            ),
            *self._sums(now),
            *self._gauges(),
        ]
        self._read_at = now
        return metrics

    def _times(self, now: int, name: str, attributes: Mapping[str, Any]) -> tuple[int, ...]:
        """Return the times of the points of a series: the last one has the present value, and one before it is 0."""
        series = (name, frozenset(attributes.items()))
        if series in self._known:
            return (now,)
        self._known.add(series)
        return (self._read_at, now)

    def _histogram(self, now: int, name: str, series: Sequence[tuple[dict[str, Any], Histogram]]) -> Metric:
        from opentelemetry.sdk.metrics.export import (
            AggregationTemporality,
            HistogramDataPoint,
            Metric,
        )
        from opentelemetry.sdk.metrics.export import Histogram as HistogramData

        data = [
            HistogramDataPoint(
                attributes=attributes,
                start_time_unix_nano=self._started_at,
                time_unix_nano=at,
                count=sum(histogram.counts),
                sum=histogram.total,
                bucket_counts=list(histogram.counts),
                explicit_bounds=list(BUCKETS_SECONDS),
                min=0.0,
                max=0.0,
            )
            for attributes, present in series
            for at in self._times(now, name, attributes)
            for histogram in (present if at == now else Histogram(),)
        ]
        return Metric(name, "", "s", HistogramData(data, AggregationTemporality.CUMULATIVE))

    def _sums(self, now: int) -> list[Metric]:
        from opentelemetry.sdk.metrics.export import AggregationTemporality, Metric, NumberDataPoint, Sum

        by_name: dict[str, list[NumberDataPoint]] = {}
        for (name, label), value in _items(self._telemetry.counters):
            attributes = {"label": label} if label else {}
            for at in self._times(now, name, attributes):
                point = NumberDataPoint(attributes, self._started_at, at, value if at == now else 0)
                by_name.setdefault(name, []).append(point)
        return [
            Metric(f"lastro.{name}", "", "1", Sum(points, AggregationTemporality.CUMULATIVE, is_monotonic=True))
            for name, points in by_name.items()
        ]

    def _gauges(self) -> list[Metric]:
        from opentelemetry.sdk.metrics.export import Gauge, Metric, NumberDataPoint

        now = time.time_ns()
        by_name: dict[str, list[NumberDataPoint]] = {}
        for (name, label), value in _items(self._telemetry.gauges):
            attributes = {"label": label} if label else {}
            by_name.setdefault(name, []).append(NumberDataPoint(attributes, self._started_at, now, value))
        # Without a unit: a collector adds `_ratio` to the name of a gauge of the unit 1.
        return [Metric(f"lastro.{name}", "", "", Gauge(points)) for name, points in by_name.items()]


def _items(table: Mapping[Any, Any]) -> list[tuple[Any, Any]]:
    """Return the items of a dictionary to which another thread may be adding."""
    while True:
        try:
            return list(table.items())
        except RuntimeError:
            continue


def _span_context(traceparent: str) -> Any:
    from opentelemetry.trace import SpanContext, TraceFlags

    _, trace_id, span_id, flags = traceparent.split("-")
    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=False, trace_flags=TraceFlags(int(flags, 16)))
