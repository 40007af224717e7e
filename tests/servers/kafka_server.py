"""Apache Kafka in KRaft mode, from Maven, on this machine's Java."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import quote

from aiokafka.admin import AIOKafkaAdminClient

from shared.adapters.kafka.address import read_address
from shared.adapters.kafka.connecting import login_of
from tests.authority import authority
from tests.servers.installing import fetch_java_libraries, installed, java
from tests.servers.processes import Advertised, Processes, free_port

VERSION: Final = "4.4.0"
_ARTIFACTS: Final = (f"org.apache.kafka:kafka_2.13:{VERSION}", "org.slf4j:slf4j-simple:1.7.36")
_CLUSTER: Final = "MkU3OEVBNTcwNTJENDM2Qk"
_JVM: Final = (
    "-Xms128m -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:MaxMetaspaceSize=128m "
    "-XX:ReservedCodeCacheSize=64m -Xss512k -Djava.awt.headless=true -Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
).split()
_PROPERTIES: Final = """\
node.id={node}
process.roles=broker,controller
controller.quorum.voters={voters}
listeners={protocol}://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners={protocol}://{advertised}
controller.listener.names=CONTROLLER
inter.broker.listener.name={protocol}
listener.security.protocol.map={protocol}:{protocol},CONTROLLER:PLAINTEXT
log.dirs={data}
num.partitions=3
default.replication.factor={replicas}
min.insync.replicas={in_sync}
unclean.leader.election.enable=false
offsets.topic.replication.factor={replicas}
offsets.topic.num.partitions=5
transaction.state.log.replication.factor={replicas}
transaction.state.log.min.isr={in_sync}
transaction.state.log.num.partitions=5
share.coordinator.state.topic.replication.factor={replicas}
share.coordinator.state.topic.min.isr={in_sync}
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
log.cleaner.dedupe.buffer.size=8388608
# A broker that has died is replaced after six seconds.
broker.session.timeout.ms=6000
broker.heartbeat.interval.ms=1000
replica.lag.time.max.ms=6000
{security}"""
_SECURITY: Final = """\
ssl.keystore.type=PEM
ssl.keystore.location={keys}
ssl.truststore.type=PEM
ssl.truststore.location={ca}
sasl.enabled.mechanisms=SCRAM-SHA-512,SCRAM-SHA-256,PLAIN
sasl.mechanism.inter.broker.protocol=SCRAM-SHA-512
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule \\
  required username="{user}" password="{password}";
listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule \\
  required user_{user}="{password}";
"""


class KafkaServer:
    """One Kafka node that is broker and controller. Topics must be created before they are used."""

    name: ClassVar[str] = "kafka"
    brokers: ClassVar[int] = 1
    protocol: ClassVar[str] = "PLAINTEXT"

    def __init__(self, advertised: Advertised = str) -> None:
        """`advertised` says at which address clients reach a broker, such as that of a proxy in front of it."""
        self._advertised = advertised

    def install(self) -> None:
        """Download its libraries with Maven, once for each version, and check that Java is installed."""
        self._libraries()
        java(wanted_for="Kafka")

    def start(self, processes: Processes) -> str:
        """Return kafka://127.0.0.1:PORT[,…] when each broker answers and can coordinate consumer groups."""
        command = [java(wanted_for="Kafka"), *_JVM, "-cp", f"{self._libraries() / 'lib'}/*"]
        nodes = range(1, self.brokers + 1)
        ports = {node: (free_port(), free_port()) for node in nodes}
        voters = ",".join(f"{node}@127.0.0.1:{controller}" for node, (_, controller) in ports.items())
        addresses = {node: self._advertised(f"127.0.0.1:{port}") for node, (port, _) in ports.items()}
        for node, (port, controller) in ports.items():
            properties = processes.data / f"node{node}.properties"
            properties.write_text(
                _PROPERTIES.format(
                    node=node,
                    voters=voters,
                    port=port,
                    protocol=self.protocol,
                    security=self._security(processes.data),
                    advertised=addresses[node],
                    controller=controller,
                    data=processes.data / f"log{node}",
                    replicas=self.brokers,
                    in_sync=min(2, self.brokers),
                ),
                encoding="utf-8",
            )
            format_log = ["kafka.tools.StorageTool", "format", "-t", _CLUSTER, "-c", str(properties), *self._users()]
            processes.run(f"format{node}", [*command, *format_log])
            processes.start(f"kafka{node}", [*command, "kafka.Kafka", str(properties)])
        url = self._url(processes.data, list(addresses.values()))
        self.wait_until_ready(processes, url)
        return url

    @staticmethod
    def wait_until_ready(processes: Processes, url: str) -> None:
        """Wait until every broker answers and can coordinate consumer groups. Raises Unavailable."""
        for address in read_address(url).servers:
            processes.wait_until(partial(_answers, url, address), "Kafka")

    def _url(self, folder: Path, servers: Sequence[str]) -> str:
        return f"kafka://{','.join(servers)}"

    def _security(self, folder: Path) -> str:
        """Return the properties of the brokers' own keys and of the accepted logins."""
        return ""

    def _users(self) -> Sequence[str]:
        """Return the options of the tool that formats the log, for the accepted logins."""
        return ()

    @staticmethod
    def _libraries() -> Path:
        return installed(
            f"kafka-{VERSION}", lambda folder: fetch_java_libraries(folder, _ARTIFACTS, wanted_for="Kafka")
        )


class KafkaClusterServer(KafkaServer):
    """Three nodes, `kafka1` to `kafka3`: a record is acknowledged when two have it, and one may be killed."""

    name: ClassVar[str] = "kafka-cluster"
    brokers: ClassVar[int] = 3


class KafkaTlsServer(KafkaServer):
    """One node that accepts only TLS with a login: of `lastro`, by SCRAM or PLAIN."""

    name: ClassVar[str] = "kafka-tls"
    protocol: ClassVar[str] = "SASL_SSL"
    user: ClassVar[str] = "lastro"
    password: ClassVar[str] = "password-of-the-tests"

    def _url(self, folder: Path, servers: Sequence[str]) -> str:
        login = f"sasl=SCRAM-SHA-512&username={self.user}&password={self.password}"
        return f"kafka+tls://{','.join(servers)}?{login}&ca={quote(str(folder / 'tests-ca.pem'))}"

    def _security(self, folder: Path) -> str:
        own = authority(folder)
        return _SECURITY.format(keys=own.server, ca=own.ca, user=self.user, password=self.password)

    def _users(self) -> Sequence[str]:
        login = f"[name={self.user},password={self.password}]"
        return [part for kind in ("256", "512") for part in ("--add-scram", f"SCRAM-SHA-{kind}={login}")]


def _answers(url: str, server: str) -> None:
    asyncio.run(_ask({**login_of(read_address(url)), "bootstrap_servers": server}))


async def _ask(login: Mapping[str, Any]) -> None:
    """Request a consumer group: the first request creates the topic of offsets, without which no group works."""
    admin = AIOKafkaAdminClient(**login)
    try:
        await admin.start()
        await admin.list_consumer_group_offsets("readiness")
    finally:
        await admin.close()
