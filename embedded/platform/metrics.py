"""Metrics in Prometheus' text format 0.0.4."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from embedded.broker.state import BrokerSummary
from shared.telemetry.recorder import BUCKETS_SECONDS, Histogram, Telemetry

Labels = Mapping[str, object]


def exposition(telemetry: Telemetry, broker: BrokerSummary, gauges: Mapping[str, float]) -> str:
    """Return all metrics of the process. `gauges` are further values without labels, by name."""
    lines: list[str] = []
    _histograms(
        lines,
        "lastro_http_request_seconds",
        "Requests, by operation and status",
        (({"operation": name, "status": status}, found) for (name, status), found in telemetry.http.items()),
    )
    _histograms(
        lines,
        "lastro_event_delivery_seconds",
        "Deliveries, by consumer, type and status",
        (
            ({"consumer": consumer, "type": kind, "status": status}, found)
            for (consumer, kind, status), found in telemetry.events.items()
        ),
    )
    _histograms(
        lines,
        "lastro_event_age_seconds",
        "Age of an event when its consumer finished it",
        (({"consumer": consumer}, found) for consumer, found in telemetry.event_age.items()),
    )
    for (name, label), count in sorted(telemetry.counters.items()):
        _line(lines, f"lastro_{name}_total", {"label": label} if label else {}, count)
    for (name, label), value in sorted(telemetry.gauges.items()):
        _line(lines, f"lastro_{name}", {"label": label} if label else {}, value)
    _broker(lines, broker)
    for name, value in gauges.items():
        lines.append(f"# TYPE lastro_{name} gauge")
        _line(lines, f"lastro_{name}", {}, value)
    return "\n".join(lines) + "\n"


def lag_exposition(group: str, lag: Mapping[tuple[str, int], int]) -> str:
    """Return the metric of unfinished events on Kafka, for each partition (topic and number) of a consumer group."""
    lines = [
        "# HELP lastro_bus_lag Events of a partition that its consumer group has not finished",
        "# TYPE lastro_bus_lag gauge",
    ]
    for (topic, partition), number in sorted(lag.items()):
        _line(lines, "lastro_bus_lag", {"group": group, "topic": topic, "partition": partition}, number)
    return "\n".join(lines) + "\n"


def _broker(lines: list[str], broker: BrokerSummary) -> None:
    for field, kind in (
        ("delivered", "counter"),
        ("retried", "counter"),
        ("dead_lettered", "counter"),
        ("lost", "counter"),
        ("dropped", "counter"),
        ("pending", "gauge"),
    ):
        name = f"lastro_broker_{field}" + ("_total" if kind == "counter" else "")
        lines.append(f"# TYPE {name} {kind}")
        for subscription, counts in sorted(broker.subscriptions.items()):
            _line(lines, name, {"subscription": subscription}, getattr(counts, field))
    for field in ("ready", "events", "behind", "correlations", "waiting_for_admission"):
        lines.append(f"# TYPE lastro_broker_{field} gauge")
        _line(lines, f"lastro_broker_{field}", {}, getattr(broker, field))


def _histograms(lines: list[str], name: str, help_text: str, found: Iterable[tuple[Labels, Histogram]]) -> None:
    lines += [f"# HELP {name} {help_text}", f"# TYPE {name} histogram"]
    for labels, histogram in found:
        count = 0
        for edge, counted in zip((*BUCKETS_SECONDS, "+Inf"), histogram.counts, strict=True):
            count += counted
            _line(lines, f"{name}_bucket", {**labels, "le": edge}, count)
        _line(lines, f"{name}_sum", labels, histogram.total)
        _line(lines, f"{name}_count", labels, count)


def _line(lines: list[str], name: str, labels: Labels, value: float) -> None:
    shown = ",".join(f'{key}="{_escaped(str(text))}"' for key, text in labels.items())
    lines.append(f"{name}{{{shown}}} {value}" if shown else f"{name} {value}")


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
