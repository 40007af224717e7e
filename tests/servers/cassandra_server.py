"""Apache Cassandra, one node or three with small heaps, from Maven, on the Java of this machine."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Final

from shared.adapters.cassandra.driver import Connection
from shared.adapters.cassandra.url import CassandraUrl
from tests.servers.installing import Unavailable, fetch_java_libraries, installed, java
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
      - seeds: "{seeds}"
listen_address: {address}
rpc_address: {address}
initial_token: "{token}"
auto_bootstrap: false
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
_RACK: Final = "dc=dc1\nrack=r{node}\n"
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
    nodes: ClassVar[int] = 1

    def install(self) -> None:
        """Fetch its libraries by Maven, once for each version, and check that Java is here."""
        self._libraries()
        java(wanted_for="Cassandra")

    def start(self, processes: Processes) -> str:
        """Return cassandra://127.0.0.1:PORT/lastro?… when every node accepts connections."""
        addresses = [f"127.0.0.{node}" for node in range(1, self.nodes + 1)]
        port, storage, tls = (_free_port(addresses) for _ in range(3))
        for node, address in enumerate(addresses, start=1):
            name = "cassandra" if self.nodes == 1 else f"cassandra{node}"
            folder = processes.data / name
            (folder / "conf").mkdir(parents=True)
            yaml = _YAML.format(
                address=address,
                port=port,
                storage=storage,
                tls=tls,
                seeds=",".join(f"{each}:{storage}" for each in addresses),
                # The nodes own equal parts of the ring, so that they can start at the same time.
                token=-(2**63) + (node - 1) * 2**64 // self.nodes,
                data=folder,
            )
            for file, text in (
                ("cassandra.yaml", yaml),
                ("cassandra-rackdc.properties", _RACK.format(node=node)),
                ("logback.xml", _LOGBACK),
            ):
                (folder / "conf" / file).write_text(text, encoding="utf-8")
            processes.start(name, self._command(folder))
        hosts = ",".join(f"{address}:{port}" for address in addresses)
        url = f"cassandra://{hosts}/lastro?dc=dc1&replicas={self.nodes}"
        self.wait_until_ready(processes, url)
        return url

    @staticmethod
    def wait_until_ready(processes: Processes, url: str) -> None:
        """Wait until every node accepts connections and knows the others. Raises Unavailable."""
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


class CassandraClusterServer(CassandraServer):
    """Three nodes, `cassandra1` to `cassandra3`, each with every row: one of them may be killed."""

    name: ClassVar[str] = "cassandra-cluster"
    nodes: ClassVar[int] = 3


def _free_port(addresses: Sequence[str]) -> int:
    """Return a port that is free on all of these addresses."""
    while True:
        port = free_port()
        with ExitStack() as stack, suppress(OSError):
            for address in addresses:
                stack.enter_context(socket.socket()).bind((address, port))
            return port


async def _ask(url: str) -> None:
    """Connect to each node and check that it knows the others. Raises Unavailable."""
    parsed = CassandraUrl.parse(url)
    for host in parsed.hosts:
        connection = await Connection.open(replace(parsed, hosts=(host,)))
        try:
            peers = await connection.rows("SELECT peer FROM system.peers_v2", ())
        finally:
            await connection.close()
        if len(peers) != len(parsed.hosts) - 1:
            raise Unavailable(f"the node {host[0]} knows {len(peers)} others")
