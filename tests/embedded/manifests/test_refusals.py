"""An invalid manifest is refused at the start, as a cluster's webhook does, with file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from embedded.manifests.findings import ManifestError
from tests.embedded.broker.small_platform import BROKER, SOURCE, TOPIC, service, trigger, write
from tests.embedded.manifests.test_manifests import KONG

PACK = service("pack")
ANNOTATED = service("pack", core=False)
PING = """
apiVersion: sources.knative.dev/v1
kind: PingSource
metadata: {name: tick}
spec:
  schedule: "* * * * *"
  contentType: application/json
  data: '{"a": 1}'
  sink: {ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: pack}}
"""
SINK = """
apiVersion: eventing.knative.dev/v1alpha1
kind: KafkaSink
metadata: {name: graveyard}
spec: {topic: dead, bootstrapServers: [kafka:9092]}
"""


def refusal(root: Path, *documents: str) -> str:
    """Return the findings of a start with these documents."""
    with pytest.raises(ManifestError) as refused:
        write(root, *documents)
    return str(refused.value)


def annotated(text: str) -> str:
    """Return a Service with these annotations on its template."""
    return ANNOTATED.replace("annotations: {}", f"annotations: {{{text}}}")


def delivery(text: str) -> str:
    """Return a Trigger with this delivery."""
    return trigger("t", "pack", delivery=f"{{{text}}}")


@pytest.mark.parametrize(
    ("document", "line", "text"),
    [
        ("a: [", 1, "This is not valid YAML for a manifest: did not find expected node content."),
        ("kind: a\nkind: b", 2, "This is not valid YAML for a manifest: the key 'kind' is here and on line 1; "),
        ("- 1", 1, "The document is not a mapping."),
        ("apiVersion: v1\nmetadata: {name: x}", 1, "The document has no kind."),
        ("kind: ConfigMap\nmetadata: {name: x}", 1, "The document has no apiVersion."),
        ("kind: Service\napiVersion: serving.knative.dev/v1", 1, "The document has no metadata.name."),
        (
            PACK.replace("kind: Service", "kind: Servise"),
            3,
            "Servise pack, kind: a Servise of serving.knative.dev is not supported here; supported of this group: ",
        ),
        (
            PING.replace("knative.dev/v1", "knative.dev/v2"),
            2,
            (
                "PingSource tick, apiVersion: a cluster does not serve this version; it serves "
                "sources.knative.dev/v1 and sources.knative.dev/v1beta2."
            ),
        ),
        (PACK + "---" + PACK, 20, "Service pack, metadata.name: the name is used already, in knative/all.yaml:2."),
    ],
)
def test_a_document_that_is_not_a_resource_is_refused(tmp_path: Path, document: str, line: int, text: str) -> None:
    """The error begins with the file and the line of the mistake."""
    assert refusal(tmp_path, document).startswith(f"knative/all.yaml:{line}: {text}")


@pytest.mark.parametrize(
    ("document", "text"),
    [
        (PACK.replace("FUNCTION_TARGET", "OTHER"), "spec.template.spec.containers.0.env: FUNCTION_TARGET is not set."),
        (
            service("pack", source="../pack.py"),
            "env.1.value: FUNCTION_SOURCE is '../pack.py' and not <package>/<file>.py",
        ),
        (service("pack", source="/x/pack.py"), "FUNCTION_SOURCE is '/x/pack.py' and not"),
        (service("pack", source="pack.py"), "FUNCTION_SOURCE is 'pack.py' and not"),
        (PACK.replace("name: pack}", "name: 1pack}"), "metadata.name: '1pack' is not a DNS label by RFC 1035"),
        (PACK.replace("name: pack}", "name: pa.ck}"), "metadata.name: 'pa.ck' is not a DNS label by RFC 1035"),
        (PACK.replace("name: pack}", "name: Pack}"), "metadata.name: 'Pack' is not a name by RFC 1123"),
        (PACK.replace("name: pack}", f"name: {'p' * 64}}}"), "metadata.name: "),
        (PACK.replace("name: pack}", "name: pack, namespace: a.b}"), "metadata.namespace: 'a.b' is not a namespace"),
        (PACK.replace("name: pack}", "name: pack, annotation: {}}"), "metadata.annotation: there is no such field"),
        (
            PACK.replace("name: pack}", "name: pack, labels: {a/b/c: x}}"),
            "metadata.labels.a/b/c: it is not the name of a label",
        ),
        (
            PACK.replace("name: pack}", "name: pack, labels: {a: x y}}"),
            "metadata.labels.a: 'x y' is not the value of a label",
        ),
        (
            PACK.replace("name: pack}", "name: pack, labels: {a: 1}}"),
            "metadata.labels.a: it should be a valid string",
        ),
        (
            PACK.replace("name: pack}", "name: pack, labels: {networking.knative.dev/visibility: public}}"),
            "Serving does not accept the label with the value 'public'",
        ),
        (
            PACK.replace("name: pack}", "name: pack, annotations: {autoscaling.knative.dev/min-scale: '1'}}"),
            (
                "metadata.annotations.autoscaling.knative.dev/min-scale: annotations for the autoscaler work in "
                "spec.template.metadata.annotations only."
            ),
        ),
        (
            PACK.replace("name: pack}", "name: pack, annotations: {serving.knative.dev/rollout-duration: 1d}}"),
            "rollout-duration: '1d' is not a duration of Go",
        ),
        (
            PACK.replace("containerConcurrency: 0", "containerConcurency: 0"),
            "spec.template.spec.containerConcurency: there is",
        ),
        (
            PACK.replace("Concurrency: 0", "Concurrency: 1001"),
            "containerConcurrency: it should be less than or equal to 1000",
        ),
        (
            PACK.replace("Concurrency: 0", "Concurrency: -1"),
            "containerConcurrency: it should be greater than or equal to 0",
        ),
        (
            PACK.replace("timeoutSeconds: 30", "timeoutSeconds: 601"),
            "timeoutSeconds: it should be less than or equal to 600",
        ),
        (
            PACK.replace("timeoutSeconds: 30", "timeoutSeconds: 0"),
            "timeoutSeconds: it should be greater than or equal to 1",
        ),
        (PACK.replace("timeoutSeconds: 30", "timeoutSeconds: '30'"), "timeoutSeconds: it should be a valid integer"),
        (
            PACK.replace("timeoutSeconds: 30", "timeoutSeconds: 30\n      responseStartTimeoutSeconds: 31"),
            "spec.template.spec.responseStartTimeoutSeconds: 31 is more than the timeoutSeconds, 30.",
        ),
        (
            PACK.replace(
                "- {name: FUNCTION_TARGET", "- {name: PORT, value: '1'}\n            - {name: FUNCTION_TARGET"
            ),
            "env.0.name: PORT is set by Knative and may not be set here.",
        ),
        (
            PACK.replace(
                "- {name: FUNCTION_TARGET", "- {name: FUNCTION_SOURCE, value: x}\n            - {name: FUNCTION_TARGET"
            ),
            "env.2.name: FUNCTION_SOURCE is set twice.",
        ),
        (
            PACK.replace("        - image", "        - image: y\n        - image"),
            "containers: list should have at most 1 item",
        ),
        (
            PACK + "  traffic: [{latestRevision: true, percent: 90}]",
            "spec.traffic: the shares sum to 90 percent and not to 100",
        ),
        (PACK + "  traffic: [{latestRevision: false, percent: 100}]", "spec.traffic.0.latestRevision: it contradicts"),
        (PACK + "  traffic: [{latestRevision: true, percent: 101}]", "spec.traffic.0.percent: "),
    ],
)
def test_a_service_that_serving_would_refuse(tmp_path: Path, document: str, text: str) -> None:
    """Names, bounds, environment and traffic must meet the rules of Knative Serving's webhook."""
    found = refusal(tmp_path, document)
    assert found.startswith("knative/all.yaml:")
    assert text in found


@pytest.mark.parametrize(
    ("annotation", "reason"),
    [
        ("min-scale: 'some'", "min-scale: 'some' is not a whole number from 0 to 2147483647."),
        ("min-scale: '-1'", "min-scale: '-1' is not a whole number"),
        ("min-scale: '3', autoscaling.knative.dev/max-scale: '2'", "max-scale: 2 is less than the min-scale 3."),
        ("initial-scale: '0'", "initial-scale: '0' is not a whole number from 1"),
        ("window: 5s", "window: '5s' is not from 6 s to 3600 s."),
        ("window: 2h", "window: '2h' is not from 6 s to 3600 s."),
        ("window: 6.5s", "window: '6.5s' is not a whole number of seconds."),
        ("window: soon", "window: 'soon' is not a duration of Go"),
        ("scale-to-zero-pod-retention-period: 61m", "is not from 0 s to 3600 s."),
        ("target: '0'", "target: '0' is not a number of at least 0.01."),
        ("target-utilization-percentage: '101'", "'101' is not a number from 1 to 100."),
        ("metric: requests", "metric: 'requests' is not one of concurrency, rps, cpu, memory."),
        ("class: kpa", "class: 'kpa' is not one of kpa.autoscaling.knative.dev, hpa.autoscaling.knative.dev."),
        ("minscale: '1'", "minscale: Knative's autoscaler has no annotation of this name."),
    ],
)
def test_annotations_that_the_autoscaler_would_refuse(tmp_path: Path, annotation: str, reason: str) -> None:
    """An annotation for the autoscaler with an invalid value, or an unknown one, is refused."""
    found = refusal(tmp_path, annotated(f"autoscaling.knative.dev/{annotation}"))
    assert "Service pack, spec.template.metadata.annotations.autoscaling.knative.dev/" in found
    assert reason in found


@pytest.mark.parametrize(
    ("document", "field", "reason"),
    [
        (delivery("retries: 3"), "retries", "there is no such field, or it is not supported here."),
        (delivery("retry: many"), "retry", "it should be a valid integer."),
        (delivery("retry: '3'"), "retry", "it should be a valid integer."),
        (delivery("retry: true"), "retry", "it should be a valid integer."),
        (delivery("retry: -1"), "retry", "it should be greater than or equal to 0."),
        (delivery("retry: 100000"), "retry", "100000 retries are more than the bound of 100."),
        (delivery("retry: 101"), "retry", "101 retries are more than the bound of 100."),
        (
            delivery("retry: 20, backoffPolicy: exponential, backoffDelay: PT1S"),
            "retry",
            "with this back-off the last of 20 retries comes after 582.5 hours; it must come within 24.",
        ),
        (delivery("retry: 50"), "retry", "with this back-off the last of 50 retries comes after"),
        (
            delivery("retry: 100, backoffPolicy: linear, backoffDelay: PT1M"),
            "retry",
            "with this back-off the last of 100 retries comes after 84.2 hours",
        ),
        (
            delivery("timeout: PT0S"),
            "timeout",
            "'PT0S' is not a valid timeout: it must be more than PT0S and at most PT600S",
        ),
        (delivery("timeout: PT601S"), "timeout", "'PT601S' is not a valid timeout"),
        (delivery("timeout: 1s"), "timeout", "'1s' is not an ISO 8601 duration of fixed length, such as PT0.2S"),
        (delivery("timeout: -PT1S"), "timeout", "'-PT1S' is not an ISO 8601 duration"),
        (delivery("backoffDelay: soon"), "backoffDelay", "'soon' is not an ISO 8601 duration"),
        (delivery("backoffDelay: P1M"), "backoffDelay", "'P1M' is not an ISO 8601 duration of fixed length"),
        (delivery("backoffPolicy: random"), "backoffPolicy", "it should be 'linear' or 'exponential'."),
        (delivery("retryAfterMax: PT1S"), "retryAfterMax", "Retry-After is not read"),
        (delivery("format: json"), "format", "the embedded broker delivers in binary mode only"),
        (delivery("format: xml"), "format", "it should be 'binary' or 'json'."),
        (delivery("deadLetterSink: {}"), "deadLetterSink", "neither ref nor uri is set."),
        (delivery("deadLetterSink: {uri: /x}"), "deadLetterSink.uri", "'/x' is relative"),
        (
            delivery("deadLetterSink: {ref: {apiVersion: v1, kind: Service, name: a}, uri: 'http://a'}"),
            "deadLetterSink.uri",
            "'http://a' is an absolute address beside a ref",
        ),
        (
            delivery("deadLetterSink: {ref: {kind: Service, name: a}}"),
            "deadLetterSink.ref.apiVersion",
            "it is missing.",
        ),
        (
            delivery("deadLetterSink: {ref: {apiVersion: v1, kind: Service, name: ''}}"),
            "deadLetterSink.ref.name",
            "string",
        ),
    ],
)
def test_an_invalid_delivery_is_refused(tmp_path: Path, document: str, field: str, reason: str) -> None:
    """Durations, counts and sinks of a delivery must meet the webhook's rules and the bounds that the error names."""
    found = refusal(tmp_path, document)
    assert found.startswith(f"knative/all.yaml:8: Trigger t, spec.delivery.{field}: {reason}")
    assert "\n" not in found


def test_a_brokers_delivery_is_held_to_the_same_rules(tmp_path: Path) -> None:
    """A Broker's delivery must meet the same rules as a Trigger's."""
    found = refusal(tmp_path, BROKER.replace("retry: 3", "retry: 100000"))
    assert (
        found
        == "knative/all.yaml:7: Broker default, spec.delivery.retry: 100000 retries are more than the bound of 100."
    )


@pytest.mark.parametrize(
    ("document", "text"),
    [
        (
            trigger("t", "pack") + "  filter: {attributes: {Type: sold}}",
            "Trigger t, spec.filter.attributes.Type: it is not the name of an attribute",
        ),
        (
            trigger("t", "pack") + "  filter: {Attributes: {}}",
            "Trigger t, spec.filter.Attributes: there is no such field",
        ),
        (
            trigger("t", "pack") + "  filters: {exact: {type: a}}",
            "Trigger t, spec.filters: it should be a valid list",
        ),
        (
            trigger("t", "pack").replace("broker: default", "brker: default"),
            "Trigger t, spec.brker: there is no such field",
        ),
        (
            trigger("t", "pack").replace("  broker: default\n", ""),
            "Trigger t, spec: one of broker and brokerRef must be set",
        ),
        (
            trigger("t", "x").replace(
                "annotations: {}", "annotations: {kafka.eventing.knative.dev/delivery.order: fast}"
            ),
            "delivery.order: 'fast' is neither ordered nor unordered.",
        ),
        (
            trigger("t", "x").replace("annotations: {}", "annotations: {knative.dev/dependency: '{}'}"),
            "metadata.annotations.knative.dev/dependency: the annotation is not supported here.",
        ),
        (
            BROKER.replace("broker.class: Kafka", "broker.class: MTChannelBasedBroker"),
            "a Broker of the class 'MTChannelBasedBroker' is not supported; Kafka and KafkaNamespaced are.",
        ),
        (BROKER.replace("  delivery:", "  deliveries:"), "Broker default, spec.deliveries: there is no such field"),
        (PING.replace("* * * * *", "0 0 * * 7"), "PingSource tick, spec.schedule: '7' is not a valid day of week"),
        (
            PING.replace("  contentType", "  timezone: Mars/Olympus\n  contentType"),
            "spec.timezone: 'Mars/Olympus' is no",
        ),
        (PING.replace("'{\"a\": 1}'", "'{'"), "PingSource tick, spec.data: it is not JSON, which contentType requires"),
        (PING.replace("'{\"a\": 1}'", "'[1]'"), "PingSource tick, spec.data: it is not a JSON object"),
        (PING.replace("data: '{\"a\": 1}'", "dataBase64: '%%'"), "PingSource tick, spec.dataBase64: it is not base64"),
        (
            PING.replace("  sink", "  dataBase64: e30=\n  sink"),
            "spec.dataBase64: data is set as well; remove one of them.",
        ),
        (
            PING.replace("  sink", "  ceOverrides: {extensions: {My-Name: x}}\n  sink"),
            "PingSource tick, spec.ceOverrides.extensions.My-Name: 'My-Name' is not the name of an attribute",
        ),
        (
            PING.replace("  sink", "  ceOverrides: {extensions: {note: ''}}\n  sink"),
            "spec.ceOverrides.extensions.note: attribute note is empty.",
        ),
        (SOURCE.replace("[lastro.shop.v1]", "[]"), "KafkaSource shop, spec.topics: list should have at least 1 item"),
        (
            SOURCE.replace("[lastro.shop.v1]", "['a b']"),
            "KafkaSource shop, spec.topics.0: 'a b' is not the name of a Kafka topic",
        ),
        (
            SOURCE.replace("  bootstrapServers: [kafka:9092]\n", ""),
            "KafkaSource shop, spec.bootstrapServers: it is missing.",
        ),
        (
            SOURCE.replace("  topics", "  initialOffset: oldest\n  topics"),
            "spec.initialOffset: it should be 'earliest'",
        ),
        (SOURCE.replace("  topics", "  ordering: random\n  topics"), "spec.ordering: it should be 'ordered'"),
        (SOURCE.replace("  topics", "  consumer: 3\n  topics"), "spec.consumer: there is no such field"),
        (
            SINK.replace("topic: dead", "topic: .."),
            "KafkaSink graveyard, spec.topic: '..' is not the name of a Kafka topic",
        ),
        (
            SINK.replace("{topic", "{contentMode: batch, topic"),
            "spec.contentMode: it should be 'binary' or 'structured'.",
        ),
        (TOPIC.format(topic="t").replace("12", "0"), "KafkaTopic t, spec.partitions: it should be greater than"),
        (TOPIC.format(topic="t").replace("replicas: 3", "replicas: 40000"), "spec.replicas: it should be less than"),
        (KONG.replace("~/v1/orders/(", "~/v1/orders/(("), "Kong, services.0.routes.0.paths.0: ~/v1/orders/(("),
        (
            KONG.replace("second: 200", "fortnight: 1"),
            "Kong, plugins.0.config: none of second, minute and hour is set.",
        ),
        (KONG.replace("second: 200", "second: 0"), "Kong, plugins.0.config.second: "),
        (
            KONG.replace("        strip_path", "        hosts: [a]\n        strip_path"),
            "services.0.routes.0.hosts: there is no such",
        ),
        (
            # Kong then sends a body in chunks, which functions refuse.
            KONG.replace("        strip_path", "        request_buffering: false\n        strip_path"),
            "Kong, services.0.routes.0.request_buffering: ",
        ),
        (
            KONG.replace("name: orders", "name: get-order"),
            "services.0.routes.1.name: the name 'get-order' is used twice.",
        ),
        (KONG.replace('"3.0"', '"2.1"'), "Kong, _format_version: it should be '3.0'."),
    ],
)
def test_eventing_and_kong(tmp_path: Path, document: str, text: str) -> None:
    """A manifest that the webhooks of Eventing and its Kafka sources, Strimzi's schema or Kong would refuse is
    refused."""
    found = refusal(tmp_path, document)
    assert found.startswith("knative/all.yaml:")
    assert text in found


def test_all_findings_are_reported_at_once(tmp_path: Path) -> None:
    """A start reports every finding on its own line, and not only the first."""
    found = refusal(
        tmp_path, service("a", concurrency=2000), delivery("retry: -1, timeout: PT0S"), PING.replace("*", "x", 1)
    )
    assert [line.partition(": ")[2].partition(":")[0] for line in found.splitlines()] == [
        "Service a, spec.template.spec.containerConcurrency",
        "Trigger t, spec.delivery.retry",
        "Trigger t, spec.delivery.timeout",
        "PingSource tick, spec.schedule",
    ]


@pytest.mark.parametrize(
    "file", ["knative/kustomization.yaml", "knative/overlays/kind/patch.yaml", "kafka-sources/x.yml"]
)
def test_no_yaml_of_the_repository_has_a_key_twice(tmp_path: Path, file: str) -> None:
    """Kustomizations and overlays have no repeated keys, as the manifests that are read here."""
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("resources: [a]\npatches: []\nresources: [b]\n")
    assert refusal(tmp_path, PACK) == (
        f"{file}:3: This is not valid YAML for a manifest: the key 'resources' is here and on line 1; "
        "remove one of them."
    )


def test_a_file_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    """A file that is not UTF-8 is refused with its name."""
    (tmp_path / "knative").mkdir()
    (tmp_path / "knative" / "latin.yaml").write_bytes(b"a: \xe9\n")
    assert refusal(tmp_path, PACK) == "knative/latin.yaml: The file is not UTF-8 (byte 3)."
