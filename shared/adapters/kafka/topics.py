"""Creates and extends topics, as Strimzi's topic operator does from the same manifests. It deletes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from shared.adapters.kafka.address import KafkaAddress
from shared.adapters.kafka.connecting import connected, login_of, text_of, unavailable
from shared.core.settings import Settings

if TYPE_CHECKING:
    from aiokafka.admin import AIOKafkaAdminClient

_TOPIC_CONFIG: Final = 1
"""DescribeConfigs: the value was set for this topic and is not a default."""
_ALREADY_EXISTS: Final = 36
_PAUSE_SECONDS: Final = 0.1
_MIN_IN_SYNC: Final = "min.insync.replicas"


class WantedTopic(NamedTuple):
    """A topic as described in the manifests. `replicas` None selects the servers' default."""

    name: str
    partitions: int
    replicas: int | None
    config: Mapping[str, str]


class FoundTopic(NamedTuple):
    """A topic on the servers, with the configuration that was set for it."""

    partitions: int
    replicas: int
    config: Mapping[str, str]


class Step(NamedTuple):
    """One difference between the manifests and the servers. If `remedy` is None, `lastro topics apply` removes the
    difference; otherwise `remedy` says what the operator can do."""

    topic: str
    text: str
    remedy: str | None = None


class TopicsRefused(Exception):
    """The servers refuse to create or change a topic. The text names the topic and the reason."""


def capped(wanted: WantedTopic, max_replicas: int | None) -> WantedTopic:
    """Return a topic with at most this number of replicas, and at most the same number of in-sync replicas."""
    if max_replicas is None or wanted.replicas is None or wanted.replicas <= max_replicas:
        return wanted
    config = dict(wanted.config)
    if int(config.get(_MIN_IN_SYNC, "1")) > max_replicas:
        config[_MIN_IN_SYNC] = str(max_replicas)
    return wanted._replace(replicas=max_replicas, config=config)


def differences(wanted: WantedTopic, found: FoundTopic | None) -> list[Step]:
    """Return the differences between a topic on the servers and its manifest."""
    name = wanted.name
    if found is None:
        replicas = "the default number of" if wanted.replicas is None else wanted.replicas
        return [Step(name, f"is missing: {wanted.partitions} partitions, {replicas} replicas")]
    steps = []
    if found.partitions < wanted.partitions:
        steps.append(Step(name, f"has {found.partitions} partitions instead of {wanted.partitions}"))
    elif found.partitions > wanted.partitions:
        text = f"has {found.partitions} partitions, more than {wanted.partitions}"
        steps.append(Step(name, text, "Kafka cannot remove partitions: change the manifest"))
    if wanted.replicas is not None and found.replicas != wanted.replicas:
        text = f"has {found.replicas} replicas instead of {wanted.replicas}"
        steps.append(Step(name, text, "reassign its partitions with Kafka's own tool"))
    for key, value in sorted(wanted.config.items()):
        present = found.config.get(key)
        if present != value:
            shown = "its default" if present is None else present
            steps.append(Step(name, f"has {key} = {shown} instead of {value}"))
    return steps


class TopicAdmin:
    """Reads and changes the topics on the servers. Use it with `async with`. Raises NotOpened and Unavailable."""

    def __init__(self, address: KafkaAddress, settings: Settings) -> None:
        self._address = address
        self._settings = settings
        self._client: AIOKafkaAdminClient | None = None

    async def __aenter__(self) -> Self:
        from aiokafka.admin import AIOKafkaAdminClient

        login = login_of(self._address)
        seconds = int(self._settings.bus_seconds * 1000)

        def make() -> AIOKafkaAdminClient:
            return AIOKafkaAdminClient(**login, client_id="lastro", request_timeout_ms=seconds)

        def start(made: AIOKafkaAdminClient) -> Awaitable[None]:
            started: Awaitable[None] = made.start()
            return started

        def stop(made: AIOKafkaAdminClient) -> Awaitable[None]:
            stopped: Awaitable[None] = made.close()
            return stopped

        self._client = await connected(make, start, stop, self._address, self._settings, waits=True)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._client is not None:
            await self._client.close()

    async def found(self, names: Sequence[str]) -> dict[str, FoundTopic]:
        """Return the existing topics among these names."""
        from aiokafka.errors import KafkaError

        client = self._opened()
        on_server = {self._address.on_server(name): name for name in names}
        try:
            present = set(await client.list_topics()) & on_server.keys()
            if not present:
                return {}
            described = await client.describe_topics(sorted(present))
            configs = await self._configs(sorted(present))
        except (KafkaError, OSError) as error:
            raise unavailable(self._address, error) from error
        return {
            on_server[topic["topic"]]: FoundTopic(
                partitions=len(topic["partitions"]),
                replicas=min((len(each["replicas"]) for each in topic["partitions"]), default=0),
                config=configs.get(topic["topic"], {}),
            )
            for topic in described
        }

    async def create(self, wanted: WantedTopic) -> None:
        """Create a topic. A topic that already exists is not an error. Raises TopicsRefused."""
        from aiokafka.admin import NewTopic
        from aiokafka.errors import KafkaError, for_code

        replicas = -1 if wanted.replicas is None else wanted.replicas
        new = NewTopic(
            self._address.on_server(wanted.name), wanted.partitions, replicas, topic_configs=dict(wanted.config)
        )
        try:
            answer = await self._opened().create_topics([new])
        except (KafkaError, OSError) as error:
            raise unavailable(self._address, error) from error
        for _, code, *rest in answer.topic_errors:
            if code and code != _ALREADY_EXISTS:
                reason = rest[0] if rest and rest[0] else text_of(for_code(code)())
                raise TopicsRefused(f"the topic {wanted.name} cannot be created: {reason}")

    async def extend(self, wanted: WantedTopic, found: FoundTopic) -> None:
        """Add partitions and set the configuration that differs; other configuration of the topic is kept.

        Raises TopicsRefused.
        """
        from aiokafka.admin import NewPartitions
        from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
        from aiokafka.errors import KafkaError, for_code

        client, name = self._opened(), self._address.on_server(wanted.name)
        try:
            if found.partitions < wanted.partitions:
                await client.create_partitions({name: NewPartitions(wanted.partitions)})
            if any(found.config.get(key) != value for key, value in wanted.config.items()):
                # The request replaces the whole configuration of the topic, so it repeats the values to keep.
                complete = {**found.config, **wanted.config}
                answers = await client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, complete)])
                for answer in answers:
                    for code, reason, *_ in answer.resources:
                        if code:
                            raise TopicsRefused(
                                f"the topic {wanted.name} cannot be changed: {reason or text_of(for_code(code)())}"
                            )
        except (KafkaError, OSError) as error:
            if isinstance(error, KafkaError) and not error.retriable:
                raise TopicsRefused(f"the topic {wanted.name} cannot be changed: {text_of(error)}") from error
            raise unavailable(self._address, error) from error

    async def _configs(self, names: Sequence[str]) -> dict[str, dict[str, str]]:
        from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

        resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
        configs: dict[str, dict[str, str]] = {}
        for answer in await self._opened().describe_configs(resources):
            for _, _, _, name, entries in answer.resources:
                configs[name] = {entry[0]: entry[1] for entry in entries if _was_set(entry)}
        return configs

    def _opened(self) -> AIOKafkaAdminClient:
        assert self._client is not None, "used inside async with only"
        return self._client


def _was_set(entry: Sequence[Any]) -> bool:
    """Return whether an entry of DescribeConfigs was set for the topic. Fields: name, value, read-only, source, …."""
    return bool(entry[3] == _TOPIC_CONFIG and entry[1] is not None)


async def apply(
    address: KafkaAddress, settings: Settings, wanted: Sequence[WantedTopic], *, dry_run: bool
) -> list[Step]:
    """Create and change the topics on the servers to match the manifests. Return the differences that were found.

    With `dry_run`, only return them. Raises NotOpened, Unavailable or TopicsRefused.
    """
    steps: list[Step] = []
    async with TopicAdmin(address, settings) as admin:
        found = await admin.found([topic.name for topic in wanted])
        for topic in wanted:
            present = found.get(topic.name)
            differing = differences(topic, present)
            steps += differing
            if dry_run or not _removable(differing):
                continue
            if present is None:
                await admin.create(topic)
            else:
                await admin.extend(topic, present)
        if _removable(steps) and not dry_run:
            await _seen(admin, wanted, settings.bus_seconds)
    return steps


def _removable(steps: Sequence[Step]) -> list[Step]:
    return [step for step in steps if step.remedy is None]


async def _seen(admin: TopicAdmin, wanted: Sequence[WantedTopic], seconds: float) -> None:
    """Wait until the servers show the change: they receive it after the controller has answered."""
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        found = await admin.found([topic.name for topic in wanted])
        left = _removable([step for topic in wanted for step in differences(topic, found.get(topic.name))])
        if not left:
            return
        if asyncio.get_running_loop().time() >= deadline:
            raise TopicsRefused(f"the topic {left[0].topic} still {left[0].text}, {seconds:g} s after it was changed")
        await asyncio.sleep(_PAUSE_SECONDS)
