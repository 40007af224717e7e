"""What distinguishes the topics on the servers from the manifests, and how it is removed."""

from __future__ import annotations

from pathlib import Path

import pytest

from embedded.manifests.loading import load
from embedded.manifests.topics import BadBrokerConfig, wanted_topics
from shared.adapters.kafka.address import KafkaAddress, read_address
from shared.adapters.kafka.topics import FoundTopic, TopicAdmin, TopicsRefused, WantedTopic, apply, capped, differences
from shared.core.settings import Settings
from shared.ports.lifecycle import NotOpened
from tests.shared.adapters.kafka.conftest import ONE_SERVER

ROOT = Path(__file__).parents[4]
TOPIC = WantedTopic("t", 12, 3, {"min.insync.replicas": "2", "retention.ms": "5"})


def test_equal_topics_have_no_differences() -> None:
    """A topic as its manifest says differs in nothing, whatever else was set for it."""
    found = FoundTopic(12, 3, {"min.insync.replicas": "2", "retention.ms": "5", "cleanup.policy": "compact"})
    assert differences(TOPIC, found) == []


def test_each_difference_is_named() -> None:
    """Missing partitions and configuration are differences that are removed; replicas need a person."""
    steps = differences(TOPIC, FoundTopic(6, 1, {"retention.ms": "4"}))
    assert [(step.text, step.remedy is None) for step in steps] == [
        ("has 6 partitions instead of 12", True),
        ("has 1 replicas instead of 3", False),
        ("has min.insync.replicas = its default instead of 2", True),
        ("has retention.ms = 4 instead of 5", True),
    ]


def test_partitions_are_never_removed() -> None:
    """More partitions than the manifest says are reported and stay."""
    (step,) = differences(TOPIC, FoundTopic(13, 3, TOPIC.config))
    assert (step.text, step.remedy) == (
        "has 13 partitions, more than 12",
        "Kafka cannot remove partitions: change the manifest",
    )


def test_replicas_are_lowered_by_an_option_only() -> None:
    """With a number of servers, a topic has no more replicas, and no more of them have to be in sync."""
    assert capped(TOPIC, None) == TOPIC
    assert capped(TOPIC, 3) == TOPIC
    assert capped(TOPIC, 1) == TOPIC._replace(replicas=1, config={"min.insync.replicas": "1", "retention.ms": "5"})


def test_the_manifests_name_the_topics_of_domains_and_brokers() -> None:
    """Every KafkaTopic is wanted, and the topic of the Broker with the numbers of its ConfigMap."""
    wanted = {topic.name: topic for topic in wanted_topics(load(ROOT))}
    assert wanted["lastro.payments.v1"].partitions == 12
    assert wanted["knative-broker-lastro-default"] == WantedTopic(
        "knative-broker-lastro-default", 12, 3, {"min.insync.replicas": "2", "retention.ms": "604800000"}
    )


def test_a_wrong_number_in_a_config_map_is_named() -> None:
    """A ConfigMap of a Broker whose number is none is refused with the field."""
    manifests = load(ROOT)
    manifests.config_maps["lastro", "kafka-broker-config"]["default.topic.partitions"] = "many"
    with pytest.raises(BadBrokerConfig, match=r"default\.topic\.partitions: 'many'"):
        wanted_topics(manifests)


async def test_topics_are_created_and_extended(address: KafkaAddress) -> None:
    """Topics are created, extended and configured; what was set beside the manifests stays; a second run does
    nothing."""
    first = WantedTopic("t", 1, 1, {"retention.ms": "100000", "cleanup.policy": "compact"})
    assert len(await apply(address, Settings(), [first], dry_run=False)) == 1
    later = WantedTopic("t", 3, 1, {"retention.ms": "200000"})
    assert len(await apply(address, Settings(), [later], dry_run=True)) == 2
    assert len(await apply(address, Settings(), [later], dry_run=False)) == 2
    assert await apply(address, Settings(), [later], dry_run=False) == []
    async with TopicAdmin(address, Settings()) as admin:
        found = await admin.found(["t", "unknown"])
    assert found == {"t": FoundTopic(3, 1, {"retention.ms": "200000", "cleanup.policy": "compact"})}


async def test_more_replicas_than_servers_are_refused(address: KafkaAddress) -> None:
    """A topic that the servers cannot replicate is not created with fewer replicas by itself."""
    with pytest.raises(TopicsRefused, match="the topic t cannot be created"):
        await apply(address, Settings(), [WantedTopic("t", 1, 3, {})], dry_run=False)


async def test_a_wrong_configuration_is_refused(address: KafkaAddress) -> None:
    """A value that Kafka does not accept is refused with the topic's name."""
    await apply(address, Settings(), [WantedTopic("t", 1, 1, {})], dry_run=False)
    with pytest.raises(TopicsRefused, match="the topic t cannot be changed"):
        await apply(address, Settings(), [WantedTopic("t", 1, 1, {"retention.ms": "soon"})], dry_run=False)


async def test_a_server_that_cannot_be_reached_is_named() -> None:
    """Without a server the admin says so in one line, within the bound of the start."""
    address = read_address(ONE_SERVER)
    with pytest.raises(NotOpened, match=r"^LASTRO_BUS cannot be used: Kafka at 127\.0\.0\.1:9: .+$"):
        await apply(address, Settings(start_seconds=0.1), [TOPIC], dry_run=True)
