"""KafkaSources, KafkaSinks and KafkaTopics, by the rules of eventing-kafka-broker 1.23's webhook and Strimzi's v1."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from embedded.manifests.eventing import DeliverySpec, Overrides
from embedded.manifests.names import Topic
from embedded.manifests.resource import Destination, Resource, Strict


class KafkaSourceSpec(Strict):
    """The topics that a source reads, its delivery, and the sink of its events."""

    bootstrap_servers: list[str] = Field(min_length=1)
    topics: list[Topic] = Field(min_length=1)
    consumer_group: str | None = None
    consumers: int = Field(default=1, ge=0)
    initial_offset: Literal["earliest", "latest"] = "latest"
    ordering: Literal["ordered", "unordered"] = "ordered"
    net: dict[str, Any] = Field(default_factory=dict)
    delivery: DeliverySpec | None = None
    sink: Destination
    ce_overrides: Overrides | None = None


class KafkaSource(Resource):
    """A KafkaSource: it sends the events of topics to its sink."""

    spec: KafkaSourceSpec


class KafkaTopicSpec(Strict):
    """A topic's name in Kafka, partitions, replicas and configuration."""

    topic_name: Topic | None = None
    partitions: int = Field(default=1, ge=1)
    replicas: int | None = Field(default=None, ge=1, le=32767)
    config: dict[str, Any] = Field(default_factory=dict)


class KafkaTopic(Resource):
    """A topic of Strimzi's topic operator."""

    spec: KafkaTopicSpec

    @property
    def topic(self) -> str:
        """The topic's name in Kafka."""
        return self.spec.topic_name or self.name


class KafkaSinkSpec(Strict):
    """The topic that a sink writes to."""

    topic: Topic
    bootstrap_servers: list[str] = Field(min_length=1)
    content_mode: Literal["binary", "structured"] = "binary"
    num_partitions: int | None = Field(default=None, ge=1)
    replication_factor: int | None = Field(default=None, ge=1)
    auth: dict[str, Any] = Field(default_factory=dict)


class KafkaSink(Resource):
    """A KafkaSink: it writes the events that are posted to it to a topic."""

    spec: KafkaSinkSpec
