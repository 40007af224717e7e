"""Reading manifests: what is understood, what is left out, and what a broken one is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from embedded.manifests.loading import ManifestError, load
from embedded.manifests.models import go_seconds
from tests.embedded.broker.small_platform import BROKER, SOURCE, TOPIC, service, trigger, write

KONG = r"""
_format_version: "3.0"
plugins:
  - name: rate-limiting
    config: {second: 200, limit_by: header, header_name: X-Tenant-Id, policy: local}
  - name: request-size-limiting
    config: {allowed_payload_size: 256, size_unit: kilobytes}
services:
  - name: get-order
    host: shop-get-order.lastro.svc.cluster.local
    port: 80
    routes:
      - name: get-order
        methods: [GET]
        paths: ['~/v1/orders/(?<order_id>[^/]+)$']
        strip_path: false
        plugins:
          - name: rate-limiting
            config: {minute: 30, limit_by: ip}
      - name: orders
        paths: [/v1/orders]
        strip_path: false
"""


def test_everything_of_a_service_is_read(tmp_path: Path) -> None:
    """Target, source, module, consumer, scale class, window and retention, timeout and concurrency."""
    text = service("pack", core=False, concurrency=4).replace(
        "annotations: {}",
        "annotations: {autoscaling.knative.dev/window: 90s, "
        "autoscaling.knative.dev/scale-to-zero-pod-retention-period: 1m30s}",
    )
    manifests = write(tmp_path, text, service("sell"))
    pack = manifests.services["pack"]
    assert (pack.target, pack.source, pack.module) == ("pack", "functions/shop/pack.py", "functions.shop.pack")
    assert (pack.consumer, pack.scale_class, pack.idle_seconds) == ("shop/pack", "support", 180.0)
    assert (pack.container_concurrency, pack.timeout_seconds) == (4, 30)
    assert pack.url == "http://pack.default.svc.cluster.local"
    assert manifests.services["sell"].scale_class == "core"


def test_eventing_kinds_are_read(tmp_path: Path) -> None:
    """Broker, Trigger, KafkaSource, KafkaTopic and PingSource, each by its name; a topic by its name in Kafka."""
    ping = """
apiVersion: sources.knative.dev/v1
kind: PingSource
metadata: {name: sweep}
spec:
  schedule: "* * * * *"
  timezone: America/Sao_Paulo
  contentType: application/json
  data: '{"a": 1}'
  sink: {ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: pack}}
"""
    topic = TOPIC.format(topic="shop").replace("spec: {", "spec: {topicName: lastro.shop.v1, ")
    manifests = write(tmp_path, service("pack"), BROKER, SOURCE, topic, ping, trigger("t", "pack", ordered=True))
    assert manifests.topics["lastro.shop.v1"].spec.partitions == 12
    assert manifests.triggers["t"].ordered
    assert manifests.pings["sweep"].spec.timezone == "America/Sao_Paulo"
    assert manifests.sources["shop"].spec.topics == ["lastro.shop.v1"]


def test_kong_is_read(tmp_path: Path) -> None:
    """Routes with their patterns, and the plugin in force: the route's own before the general one."""
    kong = write(tmp_path, KONG).kong
    assert kong is not None
    (upstream,) = kong.services
    get_order, orders = upstream.routes
    assert upstream.function == "shop-get-order"
    match = get_order.patterns[0].match("/v1/orders/ord_1")
    assert match is not None
    assert match.groupdict() == {"order_id": "ord_1"}
    assert get_order.patterns[0].match("/v1/orders/ord_1/lines") is None
    own, general = kong.rate_limit(upstream, get_order), kong.rate_limit(upstream, orders)
    assert own is not None
    assert general is not None
    assert (own.minute, general.second, general.header_name) == (30, 200, "X-Tenant-Id")
    assert kong.max_body_bytes(upstream, orders) == 256 * 1024


def test_overlays_kustomizations_and_other_kinds_are_left_out(tmp_path: Path) -> None:
    """Only the base manifests of the kinds that are played are read."""
    write(tmp_path, service("pack"))
    overlay = tmp_path / "knative" / "overlays" / "kind"
    overlay.mkdir(parents=True)
    (overlay / "patch.yaml").write_text("apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: pack}\n")
    (tmp_path / "knative" / "kustomization.yaml").write_text("resources: [all.yaml]\n")
    (tmp_path / "knative" / "other.yaml").write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n---\n")
    assert list(load(tmp_path).services) == ["pack"]


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("a: [", "knative/all.yaml: "),
        ("- 1", "knative/all.yaml: document 1: it is no mapping"),
        ("apiVersion: v1", "knative/all.yaml: document 1: kind"),
        (
            service("pack").replace("FUNCTION_TARGET", "OTHER"),
            "document 1 (Service pack): spec.template.spec.containers.0.env: FUNCTION_TARGET is not set",
        ),
        (
            trigger("t", "x", delivery="{retries: 3}"),
            "document 1 (Trigger t): spec.delivery.retries: Extra inputs are not permitted",
        ),
        (trigger("t", "x", delivery="{retry: many}"), "(Trigger t): spec.delivery.retry: "),
        (trigger("t", "x").replace("broker: default", ""), "(Trigger t): spec: one of broker and brokerRef is set"),
        (
            trigger("t", "x").replace(
                "annotations: {}", "annotations: {kafka.eventing.knative.dev/delivery.order: fast}"
            ),
            "delivery.order",
        ),
        (service("a") + "---" + service("a"), "document 2 (Service a): metadata.name: it was used before"),
        (service("a").replace('"1"', '"some"'), "min-scale"),
        (SOURCE.replace("[lastro.shop.v1]", "[]"), "(KafkaSource shop): spec.topics"),
        (KONG.replace("~/v1/orders/(", "~/v1/orders/(("), "(Kong): services.0.routes.0.paths"),
        (KONG.replace("second: 200", "fortnight: 1"), "(Kong): plugins.0: none of second, minute and hour is set"),
    ],
)
def test_a_bad_manifest_is_named_by_file_document_and_field(tmp_path: Path, document: str, message: str) -> None:
    """What cannot be played is refused with the place where it is written."""
    with pytest.raises(ManifestError) as refused:
        write(tmp_path, document)
    assert message in str(refused.value)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    """A repository without manifests is told so."""
    with pytest.raises(ManifestError, match="there is no such folder"):
        load(tmp_path)


@pytest.mark.parametrize(("text", "seconds"), [("60s", 60), ("1m30s", 90), ("1h", 3600), ("250ms", 0.25), ("0s", 0)])
def test_go_durations(text: str, seconds: float) -> None:
    """Annotations hold durations as Go writes them."""
    assert go_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "60", "1d", "s", "1m 30s"])
def test_other_text_is_no_go_duration(text: str) -> None:
    """Anything else is refused."""
    with pytest.raises(ValueError, match="no duration"):
        go_seconds(text)
