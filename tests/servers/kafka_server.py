"""Apache Kafka in KRaft mode, from Maven, on this machine's Java."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import ClassVar, Final

from aiokafka.admin import AIOKafkaAdminClient

from tests.servers.installing import fetch_java_libraries, installed, java
from tests.servers.processes import Processes, free_port

VERSION: Final = "4.4.0"
_ARTIFACTS: Final = (f"org.apache.kafka:kafka_2.13:{VERSION}", "org.slf4j:slf4j-simple:1.7.36")
_CLUSTER: Final = "MkU3OEVBNTcwNTJENDM2Qk"
_JVM: Final = (
    "-Xms128m -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:MaxMetaspaceSize=128m "
    "-XX:ReservedCodeCacheSize=64m -Xss512k -Djava.awt.headless=true -Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
).split()
_PROPERTIES: Final = """\
node.id=1
process.roles=broker,controller
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
num.partitions=3
default.replication.factor=1
min.insync.replicas=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=5
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=5
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
log.cleaner.dedupe.buffer.size=8388608
"""


class KafkaServer:
    """One Kafka node that is broker and controller. Topics have to be created before they are used."""

    name: ClassVar[str] = "kafka"
    port: ClassVar[str] = "bus"

    def install(self) -> None:
        """Fetch its libraries by Maven, once for each version, and check that Java is here."""
        self._libraries()
        java(wanted_for="Kafka")

    def start(self, processes: Processes) -> str:
        """Return kafka://127.0.0.1:PORT when the broker answers and can coordinate consumer groups."""
        command = [java(wanted_for="Kafka"), *_JVM, "-cp", f"{self._libraries() / 'lib'}/*"]
        properties = processes.data / "server.properties"
        port, controller = free_port(), free_port()
        properties.write_text(
            _PROPERTIES.format(port=port, controller=controller, data=processes.data / "log"), encoding="utf-8"
        )
        processes.run("format", [*command, "kafka.tools.StorageTool", "format", "-t", _CLUSTER, "-c", str(properties)])
        processes.start("kafka", [*command, "kafka.Kafka", str(properties)])
        processes.wait_until(lambda: asyncio.run(_ask(f"127.0.0.1:{port}")), "Kafka")
        return f"kafka://127.0.0.1:{port}"

    @staticmethod
    def _libraries() -> Path:
        return installed(
            f"kafka-{VERSION}", lambda folder: fetch_java_libraries(folder, _ARTIFACTS, wanted_for="Kafka")
        )


async def _ask(server: str) -> None:
    """Ask for a consumer group: the first one creates the topic of offsets, without which no group works."""
    admin = AIOKafkaAdminClient(bootstrap_servers=server)
    try:
        await admin.start()
        await admin.list_consumer_group_offsets("readiness")
    finally:
        await admin.close()
