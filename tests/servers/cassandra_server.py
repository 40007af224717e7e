"""Apache Cassandra, one node with a small heap, from Maven, on this machine's Java."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import ClassVar, Final

from shared.adapters.cassandra.driver import Connection
from shared.adapters.cassandra.url import CassandraUrl
from tests.servers.installing import fetch_java_libraries, installed, java
from tests.servers.processes import Processes, free_port

VERSION: Final = "5.0.9"
_ARTIFACTS: Final = (f"org.apache.cassandra:cassandra-all:{VERSION}",)
_JVM: Final = (
    "-Xms64m -Xmx384m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:MaxDirectMemorySize=128m "
    "-XX:ReservedCodeCacheSize=96m -Xss512k -XX:-UsePerfData -XX:+ExitOnOutOfMemoryError -Djava.awt.headless=true "
    "-Djdk.attach.allowAttachSelf=true -Djava.net.preferIPv4Stack=true -Dio.netty.tryReflectionSetAccessible=true"
).split()
# Packages of the Java library that Cassandra reaches into, as its own start script opens them.
_EXPORTS: Final = """
java.base/jdk.internal.misc java.base/jdk.internal.ref java.base/sun.nio.ch
java.management.rmi/com.sun.jmx.remote.internal.rmi java.rmi/sun.rmi.registry java.rmi/sun.rmi.server
java.rmi/sun.rmi.transport.tcp java.sql/java.sql java.base/java.lang.ref java.base/java.util
java.base/jdk.internal.util java.base/jdk.internal.util.jar jdk.unsupported/sun.misc
""".split()
_OPENS: Final = """
java.base/java.lang java.base/java.lang.module java.base/java.lang.reflect java.base/java.io java.base/java.math
java.base/java.net java.base/java.nio java.base/java.util java.base/java.util.concurrent
java.base/java.util.concurrent.atomic java.base/jdk.internal.loader java.base/jdk.internal.math
java.base/jdk.internal.module java.base/jdk.internal.ref java.base/jdk.internal.reflect
java.base/jdk.internal.util.jar java.base/sun.nio.ch java.rmi/sun.rmi.transport.tcp
jdk.management/com.sun.management.internal
""".split()
_PROPERTIES: Final = """
cassandra.skip_wait_for_gossip_to_settle=0 cassandra.superuser_setup_delay_ms=0 cassandra.ring_delay_ms=2000
cassandra-foreground=yes logback.configurationFile=logback.xml
""".split()
# The limits of the server are generous, because it shares a slow machine with the tests.
_YAML: Final = """\
cluster_name: lastro tests
num_tokens: 1
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
endpoint_snitch: GossipingPropertyFileSnitch
seed_provider:
  - class_name: org.apache.cassandra.locator.SimpleSeedProvider
    parameters:
      - seeds: "127.0.0.1:{storage}"
listen_address: 127.0.0.1
rpc_address: 127.0.0.1
native_transport_port: {port}
storage_port: {storage}
ssl_storage_port: {tls}
data_file_directories: [{data}/data]
commitlog_directory: {data}/commitlog
saved_caches_directory: {data}/saved_caches
hints_directory: {data}/hints
cdc_raw_directory: {data}/cdc
commitlog_sync: periodic
commitlog_sync_period: 10000ms
commitlog_segment_size: 8MiB
disk_access_mode: standard
memtable_heap_space: 32MiB
memtable_offheap_space: 32MiB
file_cache_size: 32MiB
key_cache_size: 0MiB
row_cache_size: 0MiB
counter_cache_size: 0MiB
concurrent_reads: 4
concurrent_writes: 4
concurrent_counter_writes: 2
concurrent_compactors: 1
concurrent_materialized_view_writes: 1
native_transport_max_threads: 8
networking_cache_size: 8MiB
repair_session_space: 8MiB
compaction_throughput: 0MiB/s
auto_snapshot: false
authenticator: AllowAllAuthenticator
authorizer: AllowAllAuthorizer
role_manager: CassandraRoleManager
request_timeout: 8s
read_request_timeout: 8s
range_request_timeout: 8s
write_request_timeout: 8s
cas_contention_timeout: 4s
truncate_request_timeout: 60s
"""
_RACK: Final = "dc=dc1\nrack=r1\n"
_LOGBACK: Final = """\
<configuration scan="false">
  <appender name="S" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%-5level [%thread] %date{ISO8601} %F:%L - %msg%n</pattern></encoder>
  </appender>
  <root level="INFO"><appender-ref ref="S"/></root>
</configuration>
"""


class CassandraServer:
    """One Cassandra node, in the data centre dc1. Its URL names a keyspace that a test has to create."""

    name: ClassVar[str] = "cassandra"

    def install(self) -> None:
        """Fetch its libraries by Maven, once for each version, and check that Java is here."""
        self._libraries()
        java(wanted_for="Cassandra")

    def start(self, processes: Processes) -> str:
        """Return cassandra://127.0.0.1:PORT/lastro?… when the node answers a connection."""
        port = free_port()
        configuration = processes.data / "conf"
        configuration.mkdir()
        yaml = _YAML.format(port=port, storage=free_port(), tls=free_port(), data=processes.data)
        for name, text in (
            ("cassandra.yaml", yaml),
            ("cassandra-rackdc.properties", _RACK),
            ("logback.xml", _LOGBACK),
        ):
            (configuration / name).write_text(text, encoding="utf-8")
        processes.start("cassandra", self._command(processes.data))
        url = f"cassandra://127.0.0.1:{port}/lastro?dc=dc1&replicas=1"
        self.wait_until_ready(processes, url)
        return url

    @staticmethod
    def wait_until_ready(processes: Processes, url: str) -> None:
        """Wait until the node answers a connection. Raises Unavailable."""
        processes.wait_until(lambda: asyncio.run(_ask(url)), "Cassandra")

    def _command(self, data: Path) -> list[str]:
        libraries = self._libraries() / "lib"
        agent = next(libraries.glob("jamm-*.jar"))
        exports = [f"--add-exports={package}=ALL-UNNAMED" for package in _EXPORTS]
        opens = [f"--add-opens={package}=ALL-UNNAMED" for package in _OPENS]
        folders = [f"cassandra.storagedir={data}", f"cassandra.logdir={data}/logs"]
        properties = [f"-D{each}" for each in (*_PROPERTIES, *folders)]
        classes = ["-cp", f"{data}/conf:{libraries}/*", "org.apache.cassandra.service.CassandraDaemon"]
        return [
            java(wanted_for="Cassandra"),
            *_JVM,
            *exports,
            *opens,
            f"-javaagent:{agent}",
            *properties,
            *classes,
        ]

    @staticmethod
    def _libraries() -> Path:
        return installed(
            f"cassandra-{VERSION}", lambda folder: fetch_java_libraries(folder, _ARTIFACTS, wanted_for="Cassandra")
        )


async def _ask(url: str) -> None:
    connection = await Connection.open(CassandraUrl.parse(url))
    await connection.close()
