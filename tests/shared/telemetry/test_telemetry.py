"""The traces and metrics that a process records."""

from __future__ import annotations

from random import Random

import pytest

from shared.telemetry.recorder import BUCKETS_SECONDS, Histogram, Telemetry

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Spans:
    """An exporter that stores its spans."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def export(self, name: str, *_: object) -> None:
        self.names.append(name)


def telemetry(ratio: float, *, parent_based: bool = True) -> Telemetry:
    """Return telemetry with an exporter."""
    made = Telemetry(Random(1), ratio, parent_based=parent_based)
    made.export_to(Spans())
    return made


def test_a_trace_is_continued() -> None:
    """A child span has its parent's trace and flags and its own span id."""
    child = telemetry(0.0).trace(PARENT)
    assert child[:36] == PARENT[:36]
    assert child[36:52] != PARENT[36:52]
    assert child.endswith("-01")


@pytest.mark.parametrize("parent", [None, "", "nonsense", f"00-{'0' * 32}-00f067aa0ba902b7-01"])
def test_without_a_parent_a_trace_begins(parent: str | None) -> None:
    """A missing or invalid traceparent starts a new trace, sampled by the ratio."""
    assert telemetry(1.0).trace(parent).endswith("-01")
    assert telemetry(0.0).trace(parent).endswith("-00")


def test_without_an_exporter_no_span_is_made_whatever_the_ratio() -> None:
    """Without an exporter a new trace is not sampled, and the parent's traceparent is returned unchanged."""
    alone = Telemetry(Random(1), 1.0)
    assert alone.trace(None).endswith("-00")
    assert alone.trace(PARENT) == PARENT


def test_a_sampler_that_is_not_parent_based_decides_by_the_trace_id() -> None:
    """Every process decides alike about a trace, whether it began here or not: with the ratio 0.5, about half of many
    traces are sampled."""
    first, second = telemetry(0.5, parent_based=False), telemetry(0.5, parent_based=False)
    random = Random(2)
    parents = [f"00-{random.getrandbits(128):032x}-00f067aa0ba902b7-00" for _ in range(1000)]
    decided = [first.trace(parent)[-2:] for parent in parents]
    assert decided == [second.trace(parent)[-2:] for parent in parents]
    assert 400 < decided.count("01") < 600
    assert telemetry(0.0, parent_based=False).trace(PARENT).endswith("-00")
    assert telemetry(1.0, parent_based=False).trace(parents[0]).endswith("-01")


def test_a_histogram_counts_by_upper_edges() -> None:
    """A value equal to an upper edge counts below it, and values above the last edge have their own bucket."""
    histogram = Histogram()
    for seconds in (0.3, 0.300001, 60.0):
        histogram.record(seconds)
    assert histogram.counts[BUCKETS_SECONDS.index(0.3)] == 1
    assert histogram.counts[BUCKETS_SECONDS.index(0.5)] == 1
    assert histogram.counts[-1] == 1
