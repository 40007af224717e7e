"""Reading manifests. The tests of refused manifests are in test_refusals.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from embedded.manifests.findings import ManifestError
from embedded.manifests.loading import load
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
    """A Service is read with its target, source, module, consumer, scale class, window, retention, timeout and
    concurrency."""
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
    """Broker, Trigger, KafkaSource, KafkaTopic and PingSource are read by their names, a topic by its name in Kafka."""
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
    """Routes are read with their patterns and their plugins; a route's own plugin replaces the general one."""
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


def test_overlays_kustomizations_and_other_kinds_are_ignored(tmp_path: Path) -> None:
    """Only base manifests of the supported kinds are read."""
    write(tmp_path, service("pack"))
    overlay = tmp_path / "knative" / "overlays" / "kind"
    overlay.mkdir(parents=True)
    (overlay / "patch.yaml").write_text("apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: pack}\n")
    (tmp_path / "knative" / "kustomization.yaml").write_text("resources: [all.yaml]\n")
    (tmp_path / "knative" / "other.yaml").write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n---\n")
    assert list(load(tmp_path).services) == ["pack"]


def test_the_embedded_overlay_replaces_the_general_plugins_of_its_names(tmp_path: Path) -> None:
    """The overlay's plugins replace the general plugins with the same name; other plugins and those of routes stay."""
    overlay = tmp_path / "knative" / "overlays" / "embedded"
    overlay.mkdir(parents=True)
    (overlay / "kong.yaml").write_text(
        """
_format_version: "3.0"
plugins: [{name: rate-limiting, config: {second: 7, limit_by: header, header_name: X-Tenant-Id}}]
"""
    )
    kong = write(tmp_path, KONG).kong
    assert kong is not None
    (upstream,) = kong.services
    get_order, orders = upstream.routes
    own, general = kong.rate_limit(upstream, get_order), kong.rate_limit(upstream, orders)
    assert own is not None
    assert general is not None
    assert (own.minute, general.second) == (30, 7)
    assert kong.max_body_bytes(upstream, orders) == 256 * 1024


def test_an_overlay_may_contain_only_plugins(tmp_path: Path) -> None:
    """Services and routes in the embedded overlay are refused; they belong to the base."""
    overlay = tmp_path / "knative" / "overlays" / "embedded"
    overlay.mkdir(parents=True)
    (overlay / "kong.yaml").write_text('_format_version: "3.0"\nservices: [{name: x, host: x}]\n')
    with pytest.raises(
        ManifestError, match=r"overlays/embedded/kong.yaml:2: Kong, services: an overlay may contain only plugins"
    ):
        write(tmp_path, KONG)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    """A repository without manifests gets an error that names the missing folder."""
    with pytest.raises(ManifestError) as refused:
        load(tmp_path)
    assert str(refused.value).splitlines() == [
        "knative: There is no such folder.",
        "kafka-sources: There is no such folder.",
    ]
