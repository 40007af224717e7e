"""The rights in knative/platform/kafka on a real Kafka: each domain publishes to its own topic, and Knative reads."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import pytest
import yaml
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupAuthorizationFailedError, TopicAuthorizationFailedError
from aiokafka.protocol.admin import CreateAclsRequest

from shared.adapters.kafka.address import read_address
from shared.adapters.kafka.bus import KafkaBus
from shared.adapters.kafka.connecting import login_of
from shared.adapters.kafka.topics import WantedTopic, apply
from shared.core.envelope import Envelope
from shared.core.settings import Settings
from shared.ports.documents import Unavailable
from tests.servers.kafka_server import KafkaTlsServer
from tests.servers.processes import Processes

pytestmark = pytest.mark.real

USERS = Path(__file__).parents[2] / "knative" / "platform" / "kafka" / "users.yaml"
# Kafka's numbers for them.
RESOURCES = {"topic": 2, "group": 3}
PATTERNS = {"literal": 3, "prefix": 4}
OPERATIONS = {"Read": 3, "Write": 4, "Create": 5, "Delete": 6, "Describe": 8, "DescribeConfigs": 10, "AlterConfigs": 11}
ALLOW = 3


def rights() -> dict[str, list[dict[str, Any]]]:
    """Return what each KafkaUser of the manifests may do."""
    return {
        one["metadata"]["name"]: one["spec"]["authorization"]["acls"]
        for one in yaml.safe_load_all(USERS.read_text())
        if one["kind"] == "KafkaUser"
    }


class KafkaRightsServer(KafkaTlsServer):
    """As KafkaTlsServer, with the users and rights of the manifests; `lastro` may do everything."""

    name: ClassVar[str] = "kafka-rights"

    def _security(self, folder: Path) -> str:
        authorizer = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"
        # The controller's listener of this server has no login.
        users = f"super.users=User:{self.user};User:ANONYMOUS"
        return f"{super()._security(folder)}authorizer.class.name={authorizer}\n{users}\n"

    def _users(self) -> Sequence[str]:
        logins = [f"SCRAM-SHA-512=[name={user},password={self.password}]" for user in rights()]
        return [*super()._users(), *(part for login in logins for part in ("--add-scram", login))]


async def allow(url: str) -> None:
    """Give every user of the manifests its rights, as Strimzi's user operator does."""
    admin = AIOKafkaAdminClient(**login_of(read_address(url)))
    await admin.start()
    try:
        for user, acls in rights().items():
            for acl in acls:
                resource = acl["resource"]
                for operation in acl["operations"]:
                    asked = CreateAclsRequest(
                        RESOURCES[resource["type"]],
                        resource["name"],
                        PATTERNS[resource["patternType"]],
                        f"User:{user}",
                        "*",
                        OPERATIONS[operation],
                        ALLOW,
                    )
                    answer: Any = await admin._send_request(asked)  # the client has no method for rights
                    assert [(code, text) for code, text in answer.creation_responses if code] == []
    finally:
        await admin.close()


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a Kafka with the users of the manifests, for `lastro`, who may do everything."""
    processes = Processes(tmp_path_factory.mktemp("rights") / "servers")
    server = KafkaRightsServer()
    server.install()
    try:
        started = server.start(processes)
        asyncio.run(allow(started))
        yield started
    finally:
        processes.stop()


def as_user(url: str, user: str) -> str:
    return url.replace("username=lastro&", f"username={user}&")


def event(domain: str) -> Envelope:
    attributes = {"id": "e1", "source": f"/lastro/{domain}/x", "type": "suite.v1", "partitionkey": "ten_1/x"}
    return Envelope.of(attributes, b"{}")


async def prepared(url: str) -> None:
    wanted = [WantedTopic(name, 1, 1, {}) for name in ("lastro.payments.v1", "lastro.ledger.v1")]
    await apply(read_address(url), Settings(), wanted, dry_run=False)


async def read(topic: str, **options: Any) -> bytes | None:
    """Return the first record of a topic, committed where there is a group. Raises the error of Kafka."""
    consumer = AIOKafkaConsumer(topic, **options, auto_offset_reset="earliest", enable_auto_commit=False)
    try:
        await consumer.start()
        value: bytes | None = (await consumer.getone()).value
        if "group_id" in options:
            await consumer.commit()
        return value
    finally:
        await consumer.stop()


async def test_a_domain_writes_to_its_own_topic_only(url: str) -> None:
    """The user of a domain publishes the domain's events with the functions' own producer; another topic is refused,
    and so is reading its own. The user of `operations` publishes to all."""
    await prepared(url)
    settings = Settings(bus_seconds=30.0)
    async with KafkaBus(read_address(as_user(url, "lastro-payments")), settings) as bus:
        await bus.publish([event("payments")])
        with pytest.raises(Unavailable, match="TopicAuthorizationFailed"):
            await bus.publish([event("ledger")])
    login = login_of(read_address(as_user(url, "lastro-payments")))
    with pytest.raises(TopicAuthorizationFailedError):
        await read("lastro.payments.v1", **login)
    async with KafkaBus(read_address(as_user(url, "lastro-operations")), settings) as bus:
        await bus.publish([event("payments"), event("ledger")])


async def test_knative_reads_events_in_its_groups(url: str) -> None:
    """The user of Knative reads the events in the group of a source and commits what it has read, is refused another
    group, and publishes no event of a domain."""
    await prepared(url)
    async with KafkaBus(read_address(as_user(url, "lastro-operations")), Settings(bus_seconds=30.0)) as bus:
        await bus.publish([event("payments")])
    login = login_of(read_address(as_user(url, "lastro-knative")))
    assert await read("lastro.payments.v1", **login, group_id="lastro-payments-events") == b"{}"
    with pytest.raises(GroupAuthorizationFailedError):
        await read("lastro.payments.v1", **login, group_id="others")
    async with AIOKafkaProducer(**login) as producer:
        with pytest.raises(TopicAuthorizationFailedError):
            await producer.send_and_wait("lastro.payments.v1", b"{}")


async def test_a_user_needs_the_password(url: str) -> None:
    """Without the user's password nothing is published."""
    wrong = as_user(url, "lastro-payments").replace("password=password-of-the-tests", "password=wrong")
    assert urlsplit(wrong).query != urlsplit(as_user(url, "lastro-payments")).query
    bus = KafkaBus(read_address(wrong), Settings(start_seconds=0.1), waits=False)
    with pytest.raises(Exception, match="LASTRO_BUS cannot be used"):
        await bus.__aenter__()
