"""Wiring with a missing target, or that would lose events, is refused with a sentence, file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from embedded.broker.plan import make_plan
from embedded.manifests.findings import ManifestError
from tests.embedded.broker.small_platform import BROKER, SOURCE, TO_PARKING, TOPIC, plan_of, service, trigger, write

USUAL = (TOPIC.format(topic="lastro.shop.v1"), service("parking"), service("pack"))
BARE_BROKER = """
apiVersion: eventing.knative.dev/v1
kind: Broker
metadata: {name: default}
"""
GRAVES = """
apiVersion: eventing.knative.dev/v1alpha1
kind: KafkaSink
metadata: {name: graves}
spec: {topic: dead, bootstrapServers: [kafka:9092]}
"""
GRAVE_TOPIC = TOPIC.format(topic="dead")
READER = (
    SOURCE.replace("name: shop", "name: graves")
    .replace("lastro.shop.v1", "dead")
    .replace(
        "apiVersion: eventing.knative.dev/v1, kind: Broker, name: default",
        "apiVersion: serving.knative.dev/v1, kind: Service, name: parking",
    )
)
TO_GRAVES = "deadLetterSink: {ref: {apiVersion: eventing.knative.dev/v1alpha1, kind: KafkaSink, name: graves}}"
TO_BROKER = "deadLetterSink: {ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: default}}"


def subscriber(text: str) -> str:
    """Return a Trigger with this subscriber."""
    return trigger("t", "pack").replace(
        "{ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: pack}}", f"{{{text}}}"
    )


def refusal(root: Path, *documents: str) -> str:
    """Return the error of a start with these documents."""
    with pytest.raises(ManifestError) as refused:
        make_plan(write(root, *documents))
    return str(refused.value)


@pytest.mark.parametrize(
    ("document", "text"),
    [
        (trigger("t", "nobody"), "Trigger t, spec.subscriber: there is no Service nobody."),
        (
            trigger("t", "pack").replace("broker: default", "broker: missing"),
            "Trigger t, spec.broker: there is no Broker missing in the namespace default.",
        ),
        (
            trigger("t", "pack").replace("name: t,", "name: t, namespace: elsewhere,"),
            "Trigger t, spec.broker: there is no Broker default in the namespace elsewhere.",
        ),
        (
            trigger("t", "pack").replace(
                "broker: default", "brokerRef: {apiVersion: eventing.knative.dev/v2, kind: Broker, name: default}"
            ),
            "spec.brokerRef: eventing.knative.dev/v2 Broker is not what default is: eventing.knative.dev/v1.",
        ),
        (
            subscriber("ref: {apiVersion: v1, kind: Service, name: pack}"),
            "Trigger t, spec.subscriber.ref: v1 Service is not what pack is: serving.knative.dev/v1.",
        ),
        (
            subscriber("ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: pack, namespace: other}"),
            "Trigger t, spec.subscriber.ref: Service pack is in the namespace default, not other.",
        ),
        (
            subscriber("ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: pack}, uri: /deeper"),
            "Trigger t, spec.subscriber.uri: a path below a ref is not supported here; functions answer at /.",
        ),
        (
            subscriber("uri: 'https://example.com'"),
            "Trigger t, spec.subscriber.uri: https://example.com is outside the cluster",
        ),
        (
            subscriber("uri: 'http://pack.other.svc.cluster.local'"),
            "Trigger t, spec.subscriber.uri: http://pack.other.svc.cluster.local is not the address of pack",
        ),
        (
            trigger("t", "pack", filter="[{cesql: 'TRUE'}]"),
            "Trigger t, spec.filters.0.cesql: CESQL is not supported here",
        ),
        (
            trigger("t", "pack", filter="[{exact: {Type: sold}}]"),
            "Trigger t, spec.filters.0.exact.Type: it is not the name of an attribute: a lower-case letter, then",
        ),
        (
            trigger("t", "pack", filter="[{any: [{exact: {type: a}}, {prefix: {partition_key: a}}]}]"),
            "Trigger t, spec.filters.0.any.1.prefix.partition_key: it is not the name of an attribute",
        ),
        (
            SOURCE.replace("name: shop", "name: other").replace("lastro.shop.v1", "nope"),
            "KafkaSource other, spec.topics.0: there is no KafkaTopic nope.",
        ),
    ],
)
def test_a_reference_to_a_missing_resource_is_refused(tmp_path: Path, document: str, text: str) -> None:
    """A reference to a resource that does not exist, with its kind, version and namespace, is refused with file and
    line."""
    found = refusal(tmp_path, BROKER, SOURCE, *USUAL, document)
    assert found.startswith("knative/all.yaml:")
    assert text in found
    assert len(found.splitlines()) == 1


@pytest.mark.parametrize(
    ("documents", "text"),
    [
        (
            (BARE_BROKER, trigger("t", "pack")),
            "Trigger t, spec.delivery.deadLetterSink: neither the Trigger nor its Broker default has a deadLetterSink",
        ),
        (
            (BROKER, trigger("t", "pack", delivery="{retry: 3}")),
            "Trigger t, spec.delivery.deadLetterSink: the Trigger's own delivery replaces its Broker's and has no",
        ),
        (
            (BROKER, SOURCE[: SOURCE.index("  delivery")]),
            "KafkaSource shop, spec.delivery.deadLetterSink: a KafkaSource needs a deadLetterSink",
        ),
        (
            (BROKER, trigger("t", "pack", delivery=f"{{{TO_BROKER}}}")),
            "Trigger t, spec.delivery.deadLetterSink: dead letters may not go to a Broker: default would deliver",
        ),
        (
            (BROKER, GRAVES, GRAVE_TOPIC, trigger("t", "pack", delivery=f"{{{TO_GRAVES}}}")),
            "Trigger t, spec.delivery.deadLetterSink: no KafkaSource reads the topic dead",
        ),
        (
            (
                BROKER,
                GRAVES,
                GRAVE_TOPIC,
                SOURCE.replace("name: shop", "name: graves").replace("lastro.shop.v1", "dead"),
                trigger("t", "pack", delivery=f"{{{TO_GRAVES}}}"),
            ),
            "Trigger t, spec.delivery.deadLetterSink: a KafkaSource brings the topic dead to a Broker",
        ),
    ],
)
def test_every_trigger_needs_a_dead_letter_sink(tmp_path: Path, documents: tuple[str, ...], text: str) -> None:
    """A Trigger without a dead letter sink, or with one that leads back to it, is refused."""
    found = refusal(tmp_path, *USUAL, *documents)
    assert found.startswith("knative/all.yaml:")
    assert text in found


def test_a_topic_can_be_a_dead_letter_sink(tmp_path: Path) -> None:
    """A topic that a source delivers to a function can be the dead letter sink, and a Trigger may use its Broker's
    delivery."""
    letter = trigger("t", "pack", delivery=f"{{retry: 100, backoffDelay: PT0.01S, backoffPolicy: linear, {TO_GRAVES}}}")
    plan = plan_of(tmp_path, service("pack"), GRAVES, GRAVE_TOPIC, READER, letter, trigger("u", "pack"))
    policies = {subscription.name: subscription.policy for subscription in plan.subscriptions}
    assert (policies["trigger/t"].retry, policies["trigger/u"].retry) == (100, 3)
    assert (policies["trigger/t"].delay, policies["trigger/u"].delay) == (0.01, 0.2)


def test_a_triggers_delivery_replaces_its_brokers_entirely(tmp_path: Path) -> None:
    """A Trigger's delivery replaces all fields of its Broker's delivery."""
    plan = plan_of(tmp_path, service("pack"), trigger("t", "pack", delivery=f"{{timeout: PT9S, {TO_PARKING}}}"))
    policy = plan.subscriptions[0].policy
    assert (policy.retry, policy.delay, policy.timeout) == (0, 1.0, 9.0)


def test_all_findings_are_reported_at_once(tmp_path: Path) -> None:
    """Each wrong reference is reported, and not only the first."""
    found = refusal(tmp_path, BROKER, *USUAL, trigger("a", "nobody"), trigger("b", "pack", delivery="{retry: 1}"))
    assert [line.split(": ")[1].partition(",")[0] for line in found.splitlines()] == ["Trigger a", "Trigger b"]
