"""The topics that the manifests need on Kafka: the KafkaTopics, and one for each Broker."""

from __future__ import annotations

from typing import Any, Final

from embedded.manifests.eventing import Broker
from embedded.manifests.loading import Manifests
from shared.adapters.kafka.topics import WantedTopic

# Keys of a Broker's ConfigMap, with the defaults of eventing-kafka-broker 1.23.
_PARTITIONS: Final = ("default.topic.partitions", 10)
_REPLICAS: Final = ("default.topic.replication.factor", 1)
_CONFIG: Final = "default.topic.config."


class BadBrokerConfig(ValueError):
    """A value in a Broker's ConfigMap is not a number. The text names it."""


def wanted_topics(manifests: Manifests) -> list[WantedTopic]:
    """Return the topics, ordered by name. Raises BadBrokerConfig."""
    wanted = [
        WantedTopic(
            topic.topic,
            topic.spec.partitions,
            topic.spec.replicas,
            {key: _text(value) for key, value in topic.spec.config.items()},
        )
        for topic in manifests.topics.values()
    ]
    wanted += [_topic_of(manifests, broker) for broker in manifests.brokers.values()]
    return sorted(wanted)


def _topic_of(manifests: Manifests, broker: Broker) -> WantedTopic:
    reference = broker.spec.config
    data: dict[str, str] = {}
    if reference is not None:
        data = manifests.config_maps.get((reference.namespace or broker.namespace, reference.name), {})
    return WantedTopic(
        broker.topic,
        _number(data, *_PARTITIONS),
        _number(data, *_REPLICAS),
        {key.removeprefix(_CONFIG): value for key, value in data.items() if key.startswith(_CONFIG)},
    )


def _number(data: dict[str, str], key: str, default: int) -> int:
    text = data.get(key, str(default))
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise BadBrokerConfig(f"the Broker's ConfigMap has {key}: {text!r}, which is not a number above 0")
    return int(text)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
