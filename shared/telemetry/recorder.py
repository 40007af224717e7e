"""Traces and metrics: cheap in the handler's path, exported by OpenTelemetry when an endpoint is set.

Counts are kept in plain dictionaries and read when somebody asks; a span object is made only for the sampled
share of traces (docs/decisions/0005).
"""

from __future__ import annotations

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
BUCKETS_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.5, 5.0, 10.0)


@dataclass(slots=True)
class Histogram:
    """Counts for each bucket of BUCKETS_SECONDS (the last one has all greater values), and the sum in seconds."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS_SECONDS) + 1))
    total: float = 0.0

    def record(self, seconds: float) -> None:
        self.counts[bisect_left(BUCKETS_SECONDS, seconds)] += 1
        self.total += seconds


class SpanExporter(Protocol):
    """Receives the finished spans of sampled traces."""

    def export(
        self, name: str, kind: str, traceparent: str, parent: str | None, seconds: float, attributes: dict[str, Any]
    ) -> None:
        """Accept one span. It must not block."""
        ...


class Telemetry:
    """What a process measures of itself."""

    def __init__(self, random: Random, ratio: float) -> None:
        """`ratio` is the share of new traces that are sampled."""
        self._random = random
        self._ratio = ratio
        self._exporter: SpanExporter | None = None
        self.http: defaultdict[tuple[str, int], Histogram] = defaultdict(Histogram)
        self.events: defaultdict[tuple[str, str, int], Histogram] = defaultdict(Histogram)
        self.event_age: defaultdict[str, Histogram] = defaultdict(Histogram)
        self.counters: dict[tuple[str, str], int] = {}
        self._unsampled: set[str] = set()

    def export_to(self, exporter: SpanExporter | None) -> None:
        """Send the spans of sampled traces to `exporter`; None discards them."""
        self._exporter = exporter

    def trace(self, parent: str | None) -> str:
        """A traceparent (W3C Trace Context §3.2) for a new span: a child of `parent`, or the root of a new trace.

        In a trace that is not sampled nobody makes spans, and the parent's own is passed on.
        """
        if parent is not None and parent in self._unsampled:
            return parent
        match = _TRACEPARENT.fullmatch(parent) if parent else None
        if match is not None and match[1] != _NO_TRACE:
            if match[3][-1] not in _SAMPLED:
                return self._passed_on(match[0])
            return f"00-{match[1]}-{self._random.getrandbits(64) or 1:016x}-{match[3]}"
        sampled = 1 if self._random.random() < self._ratio else 0
        number = self._random.getrandbits(192) | 1 << 64 | 1
        traceparent = f"00-{number >> 64:032x}-{number & 0xFFFFFFFFFFFFFFFF:016x}-{sampled:02x}"
        return traceparent if sampled else self._passed_on(traceparent)

    def _passed_on(self, traceparent: str) -> str:
        """One that is not sampled, remembered: each function of a payment is given it again."""
        if len(self._unsampled) >= _MAX_UNSAMPLED:
            self._unsampled.clear()
        self._unsampled.add(traceparent)
        return traceparent

    def record_http(self, operation: str, status: int, seconds: float, traceparent: str, parent: str | None) -> None:
        """Note one answered request."""
        self.http[operation, status].record(seconds)
        if self._exporter is not None and traceparent[-1] in _SAMPLED:
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
        if self._exporter is not None and traceparent[-1] in _SAMPLED:
            attributes = {"messaging.operation.type": "process", "cloudevents.event_type": type, "outcome": status}
            self._exporter.export(consumer, "consumer", traceparent, parent, seconds, attributes)

    def count(self, name: str, label: str = "", by: int = 1) -> None:
        """Increase a counter."""
        key = (name, label)
        self.counters[key] = self.counters.get(key, 0) + by
