"""OpenTelemetry's own environment variables, each tested with a receiver that records the requests."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from random import Random

import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

from shared.adapters.otlp import export
from shared.adapters.otlp.export import OtlpLink, exporter
from shared.adapters.otlp.variables import read_variables
from shared.core.settings import InvalidSettings
from shared.telemetry.recorder import Telemetry
from tests.shared.adapters.otlp.receiver import Receiver, receiving
from tests.waiting import PATIENCE_SECONDS

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
UNSAMPLED_PARENT = PARENT[:-2] + "00"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture(autouse=True)
def _only_what_a_test_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _a_slow_machine_may_send_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing waits for a receiver that accepts."""
    monkeypatch.setattr(export, "CLOSE_SECONDS", PATIENCE_SECONDS)


@asynccontextmanager
async def connected(ratio: float = 1.0) -> AsyncIterator[tuple[Telemetry, OtlpLink | None]]:
    """Return telemetry that is connected as in a process, by the variables in the environment."""
    variables = read_variables(os.environ, ratio)
    telemetry = Telemetry(Random(1), variables.ratio, parent_based=variables.parent_based)
    link = exporter(telemetry, variables)
    async with AsyncExitStack() as stack:
        if link is not None:
            await stack.enter_async_context(link)
        yield telemetry, link


def answered(telemetry: Telemetry, parent: str | None = None, operation: str = "payments/create_payment") -> None:
    """Record one answered request."""
    telemetry.record_http(operation, 201, 0.02, telemetry.trace(parent), parent, "demo", "req_1")


async def test_spans_and_metrics_reach_the_endpoint(monkeypatch: pytest.MonkeyPatch, receiver: Receiver) -> None:
    """OTEL_EXPORTER_OTLP_ENDPOINT: a sampled span with its parent, and each histogram with its counts, are received; an
    unsampled span is not."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
    async with connected(ratio=0.0) as (telemetry, _):
        answered(telemetry, PARENT)
        answered(telemetry)
        telemetry.count("replays", "payments")
    (span,) = receiver.spans()
    assert (span.name, span.trace_id.hex(), span.parent_span_id.hex()) == (
        "payments/create_payment",
        PARENT[3:35],
        PARENT[36:52],
    )
    metrics = receiver.metrics()
    assert metrics["http.server.request.duration"].histogram.data_points[-1].count == 2
    assert metrics["lastro.replays"].sum.data_points[-1].as_int == 1


async def test_a_series_begins_with_zero(monkeypatch: pytest.MonkeyPatch, receiver: Receiver) -> None:
    """The first time a count is sent, a point of 0 at the time of the sending before goes with it, so that the increase
    between both has the first observations; later each sending has one point."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "20")
    async with connected() as (telemetry, _):
        await asyncio.to_thread(receiver.wait_for, 1, "/v1/metrics")
        answered(telemetry)
        telemetry.count("replays", "payments")
        await asyncio.to_thread(receiver.wait_for, len(receiver.of("/v1/metrics")) + 3, "/v1/metrics")
    counters = [list(found["lastro.replays"].sum.data_points) for found in _sendings(receiver, "lastro.replays")]
    name = "http.server.request.duration"
    histograms = [list(found[name].histogram.data_points) for found in _sendings(receiver, name)]
    assert [[point.as_int for point in points] for points in counters] == [[0, 1], *[[1]] * (len(counters) - 1)]
    assert [[point.count for point in points] for points in histograms] == [[0, 1], *[[1]] * (len(histograms) - 1)]
    assert sum(histograms[0][0].bucket_counts) == 0
    for zero, first in (counters[0], histograms[0]):
        assert zero.start_time_unix_nano <= zero.time_unix_nano < first.time_unix_nano


def _sendings(receiver: Receiver, name: str) -> list[dict[str, Metric]]:
    """Return the metrics of each request in which one has points."""
    return [found for found in receiver.all_metrics() if name in found and _points(found[name])]


def _points(metric: Metric) -> int:
    return len(metric.sum.data_points) + len(metric.histogram.data_points)


@pytest.mark.parametrize("disabled", [{}, {"OTEL_SDK_DISABLED": "true"}, {"OTEL_SDK_DISABLED": "TRUE"}], ids=str)
async def test_nothing_is_sent_without_an_endpoint_or_with_the_sdk_disabled(
    monkeypatch: pytest.MonkeyPatch, receiver: Receiver, disabled: dict[str, str]
) -> None:
    """OTEL_SDK_DISABLED: there is no exporter, so no span is created."""
    for name, value in {**disabled, **({"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url} if disabled else {})}.items():
        monkeypatch.setenv(name, value)
    async with connected() as (telemetry, link):
        assert link is None
        assert telemetry.trace(None).endswith("-00")
    assert receiver.requests == []


@pytest.mark.parametrize(("signal", "other"), [("TRACES", "METRICS"), ("METRICS", "TRACES")])
async def test_each_signal_has_an_endpoint_of_its_own(
    monkeypatch: pytest.MonkeyPatch, receiver: Receiver, signal: str, other: str
) -> None:
    """OTEL_EXPORTER_OTLP_<SIGNAL>_ENDPOINT is used unchanged, and the other signal is not sent."""
    monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT", f"{receiver.url}/here")
    async with connected() as (telemetry, _):
        answered(telemetry)
    assert {request.path for request in receiver.requests} == {"/here"}


@pytest.mark.parametrize(("signal", "left"), [("TRACES", "/v1/metrics"), ("METRICS", "/v1/traces")])
async def test_a_signal_can_be_left_out(
    monkeypatch: pytest.MonkeyPatch, receiver: Receiver, signal: str, left: str
) -> None:
    """OTEL_TRACES_EXPORTER and OTEL_METRICS_EXPORTER: with `none`, nothing of the signal is sent."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
    monkeypatch.setenv(f"OTEL_{signal}_EXPORTER", "none")
    async with connected() as (telemetry, _):
        answered(telemetry)
    assert {request.path for request in receiver.requests} == {left}


async def test_headers_are_sent(monkeypatch: pytest.MonkeyPatch, receiver: Receiver) -> None:
    """OTEL_EXPORTER_OTLP_HEADERS are sent, or the headers of the signal instead of them."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-key=a%20b, x-other=1")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "x-key=metrics")
    async with connected() as (telemetry, _):
        answered(telemetry)
    traces, metrics = receiver.of("/v1/traces")[0].headers, receiver.of("/v1/metrics")[0].headers
    assert (traces["x-key"], traces["x-other"], metrics["x-key"]) == ("a b", "1", "metrics")


@pytest.mark.parametrize("compression", ["none", "gzip", "deflate"])
async def test_bodies_are_compressed(monkeypatch: pytest.MonkeyPatch, receiver: Receiver, compression: str) -> None:
    """OTEL_EXPORTER_OTLP_COMPRESSION compresses the bodies."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", compression)
    async with connected() as (telemetry, _):
        answered(telemetry)
    assert receiver.of("/v1/traces")[0].headers.get("content-encoding", "none") == compression
    assert len(receiver.spans()) == 1


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, {"service.name": "lastro"}),
        ({"K_SERVICE": "payments-settle"}, {"service.name": "payments-settle"}),
        ({"K_SERVICE": "settle", "K_REVISION": "settle-00007"}, {"service.version": "settle-00007"}),
        ({"K_SERVICE": "x", "OTEL_RESOURCE_ATTRIBUTES": "service.name=a,zone=b"}, {"service.name": "a", "zone": "b"}),
        ({"OTEL_SERVICE_NAME": "c", "OTEL_RESOURCE_ATTRIBUTES": "service.name=a"}, {"service.name": "c"}),
    ],
    ids=str,
)
async def test_the_service_name(
    monkeypatch: pytest.MonkeyPatch, receiver: Receiver, variables: dict[str, str], expected: dict[str, str]
) -> None:
    """The service name is OTEL_SERVICE_NAME, else that of OTEL_RESOURCE_ATTRIBUTES, else the Knative Service's, else
    `lastro`; the version is the revision."""
    monkeypatch.delenv("K_SERVICE", raising=False)
    for name, value in {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, **variables}.items():
        monkeypatch.setenv(name, value)
    async with connected() as (telemetry, _):
        answered(telemetry)
    assert expected.items() <= receiver.resource().items()


@pytest.mark.parametrize(
    ("sampler", "argument", "sampled"),
    [
        ("always_on", None, (True, True, True)),
        ("always_off", None, (False, False, False)),
        ("traceidratio", "0", (False, False, False)),
        ("traceidratio", None, (True, True, True)),
        ("parentbased_always_on", None, (True, True, False)),
        ("parentbased_always_off", None, (False, True, False)),
        ("parentbased_traceidratio", "0", (False, True, False)),
        ("ParentBased_TraceIdRatio", "1", (True, True, False)),
        (None, None, (False, True, False)),
    ],
)
async def test_the_sampler(
    monkeypatch: pytest.MonkeyPatch,
    receiver: Receiver,
    sampler: str | None,
    argument: str | None,
    sampled: tuple[bool, bool, bool],
) -> None:
    """OTEL_TRACES_SAMPLER and OTEL_TRACES_SAMPLER_ARG replace LASTRO_TRACE_RATIO (here 0): for a trace that begins
    here, and for one that began sampled or unsampled elsewhere."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
    for name, value in (("OTEL_TRACES_SAMPLER", sampler), ("OTEL_TRACES_SAMPLER_ARG", argument)):
        if value is not None:
            monkeypatch.setenv(name, value)
    async with connected(ratio=0.0) as (telemetry, _):
        for name, parent in (("root", None), ("sampled", PARENT), ("unsampled", UNSAMPLED_PARENT)):
            answered(telemetry, parent, name)
    names = {span.name for span in receiver.spans()}
    assert tuple(name in names for name in ("root", "sampled", "unsampled")) == sampled


async def test_metrics_are_sent_at_the_interval(monkeypatch: pytest.MonkeyPatch, receiver: Receiver) -> None:
    """OTEL_METRIC_EXPORT_INTERVAL is the interval of metrics in milliseconds."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "20")
    async with connected():
        await asyncio.to_thread(receiver.wait_for, 3, "/v1/metrics")
    assert read_variables({}, 1.0).metric_seconds == 60.0


async def test_spans_are_sent_in_batches(monkeypatch: pytest.MonkeyPatch, receiver: Receiver) -> None:
    """OTEL_BSP_SCHEDULE_DELAY and OTEL_BSP_MAX_EXPORT_BATCH_SIZE: spans are sent after a delay in milliseconds, in
    requests of at most this many spans."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "2")
    async with connected() as (telemetry, _):
        for _ in range(5):
            answered(telemetry)
        await asyncio.to_thread(receiver.wait_for, 3)
        assert len(receiver.spans()) == 5


async def test_a_full_queue_drops_spans(monkeypatch: pytest.MonkeyPatch, receiver: Receiver) -> None:
    """OTEL_BSP_MAX_QUEUE_SIZE bounds the number of spans that wait for a slow collector."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"{receiver.url}/v1/traces")
    for name, value in (("MAX_QUEUE_SIZE", "3"), ("MAX_EXPORT_BATCH_SIZE", "1"), ("SCHEDULE_DELAY", "20")):
        monkeypatch.setenv(f"OTEL_BSP_{name}", value)
    receiver.gate.clear()
    async with connected() as (telemetry, _):
        answered(telemetry)
        await asyncio.to_thread(receiver.wait_for, 1)
        for _ in range(50):
            answered(telemetry)
        receiver.gate.set()
    assert 2 <= len(receiver.spans()) <= 5


async def test_a_request_has_its_timeout(monkeypatch: pytest.MonkeyPatch, receiver: Receiver) -> None:
    """OTEL_EXPORTER_OTLP_TIMEOUT, in seconds: a request that is not answered within it is sent again."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"{receiver.url}/v1/traces")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.2")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
    receiver.gate.clear()
    async with connected() as (telemetry, _):
        answered(telemetry)
        await asyncio.to_thread(receiver.wait_for, 1)
        answered(telemetry)
        await asyncio.to_thread(receiver.wait_for, 2)


async def test_a_blocked_collector_does_not_delay_the_end(
    monkeypatch: pytest.MonkeyPatch, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    """With a blocked collector, closing takes its bounded time, and logs that data was not sent."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
    receiver.gate.clear()
    async with connected() as (telemetry, link):
        answered(telemetry)
        assert link is not None
        monkeypatch.setattr(export, "CLOSE_SECONDS", 0.1)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await link.aclose()
    assert "the last spans and metrics were not sent" in caplog.text


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("OTEL_SDK_DISABLED", "yes", "is not one of true, false"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "is not one of http/protobuf"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json", "is not one of http/protobuf"),
        ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "grpc", "is not one of http/protobuf"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318", "is not an http:// or https:// URL"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon", "is not a number of seconds above 0"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zip", "is not one of none, gzip, deflate"),
        ("OTEL_TRACES_EXPORTER", "zipkin", "is not one of otlp, none"),
        ("OTEL_LOGS_EXPORTER", "otlp", "is not one of none"),
        ("OTEL_PROPAGATORS", "tracecontext,b3", "is not tracecontext, the only propagation"),
        ("OTEL_RESOURCE_ATTRIBUTES", "nonsense", "is not a list of the form name=value"),
        ("OTEL_TRACES_SAMPLER", "xray", "is not one of always_on"),
        ("OTEL_TRACES_SAMPLER_ARG", "2", "is not a number between 0 and 1"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "0", "is not a whole number above 0"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "many", "is not a whole number above 0"),
    ],
)
def test_an_invalid_value_is_named(name: str, value: str, shown: str) -> None:
    """An invalid value causes an error with the variable, the error and the accepted values."""
    with pytest.raises(InvalidSettings, match=f"{name}.*{shown}"):
        read_variables({name: value}, 1.0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_LOGS_EXPORTER", "none"),
        ("OTEL_PROPAGATORS", "tracecontext"),
        ("OTEL_RESOURCE_ATTRIBUTES", "team=payments, host.name=a%20b"),
    ],
)
def test_a_value_without_effect_is_accepted(name: str, value: str) -> None:
    """A value that describes what is done anyway is accepted."""
    assert read_variables({name: value}, 0.5) == read_variables({}, 0.5)


def test_headers_are_not_shown() -> None:
    """The error for an invalid list of headers has the variable and not its value."""
    with pytest.raises(InvalidSettings, match="OTEL_EXPORTER_OTLP_HEADERS is not a list") as refused:
        read_variables({"OTEL_EXPORTER_OTLP_HEADERS": "Bearer s3cr3t"}, 1.0)
    assert "s3cr3t" not in str(refused.value)


async def test_an_error_of_the_sdk_is_named_too(monkeypatch: pytest.MonkeyPatch, receiver: Receiver) -> None:
    """Batches that are larger than their queue are an error at the start."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "10")
    with pytest.raises(InvalidSettings, match=r"OTEL_\*: max_export_batch_size"):
        async with connected():
            pass
