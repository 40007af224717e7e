"""Traces, metrics and log lines of requests, recorded at low cost and exported when an endpoint is configured.

Counts are stored in plain dictionaries, which exporters read. A span is created only in a sampled trace and with an
exporter (docs/decisions/0005).
"""

from __future__ import annotations

import logging
import re
from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, Protocol

_TRACEPARENT: Final = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_NO_TRACE: Final = "0" * 32
# The lowest bit of the flags; the other bits are ignored.
_SAMPLED: Final = frozenset("13579bdf")
_MAX_UNSAMPLED: Final = 4096
_TRACE_ID_RANGE: Final = 1 << 64
BUCKETS_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.5, 5.0, 10.0)


@dataclass(slots=True)
class Histogram:
    """Counts for each bucket of BUCKETS_SECONDS (the last one has all greater values), and the sum in seconds."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS_SECONDS) + 1))
    total: float = 0.0

    def record(self, seconds: float) -> None:
        """Count one duration in seconds."""
        self.counts[bisect_left(BUCKETS_SECONDS, seconds)] += 1
        self.total += seconds


class SpanExporter(Protocol):
    """Receives the finished spans of sampled traces."""

    def export(
        self, name: str, kind: str, traceparent: str, parent: str | None, seconds: float, attributes: dict[str, Any]
    ) -> None:
        """Accept one span. It must not block."""
        ...


class RequestLog(Protocol):
    """Where a line is logged for each answered request."""

    def request(
        self, operation: str, status: int, seconds: float, tenant_id: str, request_id: str, traceparent: str
    ) -> None:
        """Log one answered request. It must not block."""
        ...


class Telemetry:
    """The traces and metrics of one process."""

    def __init__(self, random: Random, ratio: float, *, parent_based: bool = True) -> None:
        """`ratio` is the share of sampled traces, from 0 to 1: of those that begin here, and of all when the sampler
        is not `parent_based`."""
        self._random = random
        self._bound = round(ratio * _TRACE_ID_RANGE)
        self._parent_based = parent_based
        self._exporter: SpanExporter | None = None
        self.requests: RequestLog | None = None
        """The log of answered requests, or None."""
        self.deliveries: logging.Logger | None = None
        """The log of deliveries of events, or None."""
        self.http: defaultdict[tuple[str, int], Histogram] = defaultdict(Histogram)
        self.events: defaultdict[tuple[str, str, int], Histogram] = defaultdict(Histogram)
        self.event_age: defaultdict[str, Histogram] = defaultdict(Histogram)
        self.counters: dict[tuple[str, str], int] = {}
        self.gauges: dict[tuple[str, str], float] = {}
        self._unsampled: set[str] = set()

    def export_to(self, exporter: SpanExporter | None) -> None:
        """Send the spans of sampled traces to `exporter`; None discards them."""
        self._exporter = exporter

    def trace(self, parent: str | None) -> str:
        """Return a traceparent (W3C Trace Context §3.2) for a new span: a child of `parent`, or the root of a new
        trace.

        The parent's traceparent is returned when no span is created: the trace is not sampled, or there is no exporter.
        """
        if parent is not None and parent in self._unsampled:
            return parent
        match = _TRACEPARENT.fullmatch(parent) if parent else None
        if match is not None and match[1] != _NO_TRACE:
            flags = match[3]
            if self._exporter is None:
                return self._passed_on(match[0])
            if not self._parent_based:
                flags = "01" if self._samples(int(match[1], 16)) else "00"
            if flags[-1] not in _SAMPLED:
                return self._passed_on(f"{match[0][:-2]}{flags}")
            return f"00-{match[1]}-{self._random.getrandbits(64) or 1:016x}-{flags}"
        number = self._random.getrandbits(192) | 1 << 64 | 1
        trace_id, span_id = number >> 64, number & 0xFFFFFFFFFFFFFFFF
        sampled = self._exporter is not None and self._samples(trace_id)
        traceparent = f"00-{trace_id:032x}-{span_id:016x}-{sampled:02x}"
        return traceparent if sampled else self._passed_on(traceparent)

    def _samples(self, trace_id: int) -> bool:
        # By the lower half of the trace id, as OpenTelemetry's TraceIdRatioBased, so that every process decides in
        # the same way.
        return trace_id & (_TRACE_ID_RANGE - 1) < self._bound

    def _passed_on(self, traceparent: str) -> str:
        """Return the traceparent without a span. Cached, because all functions of a payment receive the same one."""
        if len(self._unsampled) >= _MAX_UNSAMPLED:
            self._unsampled.clear()
        self._unsampled.add(traceparent)
        return traceparent

    def record_http(
        self,
        operation: str,
        status: int,
        seconds: float,
        traceparent: str,
        parent: str | None,
        tenant_id: str,
        request_id: str,
    ) -> None:
        """Record and log one answered request."""
        self.http[operation, status].record(seconds)
        if self.requests is not None:
            self.requests.request(operation, status, seconds, tenant_id, request_id, traceparent)
        if self._exporter is not None and traceparent[-1] in _SAMPLED and traceparent != parent:
            self._exporter.export(
                operation, "server", traceparent, parent, seconds, {"http.response.status_code": status}
            )

    def record_event(
        self,
        consumer: str,
        type: str,
        status: int,
        seconds: float,
        age_seconds: float | None,
        traceparent: str,
        parent: str | None,
    ) -> None:
        """Record one delivery, and the age of its event in seconds at the end of it."""
        self.events[consumer, type, status].record(seconds)
        if age_seconds is not None:
            self.event_age[consumer].record(age_seconds)
        if self._exporter is not None and traceparent[-1] in _SAMPLED and traceparent != parent:
            attributes = {"messaging.operation.type": "process", "cloudevents.event_type": type, "outcome": status}
            self._exporter.export(consumer, "consumer", traceparent, parent, seconds, attributes)

    def count(self, name: str, label: str = "", by: int = 1) -> None:
        """Increase the counter with this name and label by `by`."""
        key = (name, label)
        self.counters[key] = self.counters.get(key, 0) + by

    def measure(self, name: str, value: float, label: str = "") -> None:
        """Set the gauge with this name and label to the value that was measured last."""
        self.gauges[name, label] = value
