"""All servers, by name. The module of a server, which imports its driver, is imported when the server is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Final, NamedTuple, cast

from tests.servers.server import Server


class Entry(NamedTuple):
    """Where a server is defined, and the port of the platform that it stands behind: LASTRO_<PORT> is the setting."""

    module: str
    name: str
    port: str | None


SERVERS: Final = {
    "redis": Entry("redis_server", "RedisServer", "cache"),
    "kafka": Entry("kafka_server", "KafkaServer", "bus"),
    "mongodb": Entry("mongodb_server", "MongodbServer", "documents"),
    "cassandra": Entry("cassandra_server", "CassandraServer", "ledger"),
    "openbao": Entry("openbao_server", "OpenbaoServer", "secrets"),
    "keycloak": Entry("keycloak_server", "KeycloakServer", "identity"),
    "unleash": Entry("unleash_server", "UnleashServer", "flags"),
    "redis-sentinel": Entry("redis_sentinel_server", "RedisSentinelServer", "cache"),
    "kafka-cluster": Entry("kafka_server", "KafkaClusterServer", "bus"),
    "kafka-tls": Entry("kafka_server", "KafkaTlsServer", "bus"),
    "cassandra-cluster": Entry("cassandra_server", "CassandraClusterServer", "ledger"),
    "toxiproxy": Entry("toxiproxy_server", "ToxiproxyServer", None),
}
USUAL: Final = tuple(
    name
    for place, (name, entry) in enumerate(SERVERS.items())
    if entry.port not in {None, *(before.port for before in list(SERVERS.values())[:place])}
)
"""One server for each port of the platform: what `servers:up` starts without a name."""


def server_of(name: str) -> Server:
    """Return the server of this name."""
    entry = SERVERS[name]
    return cast("Server", getattr(import_module(f"tests.servers.{entry.module}"), entry.name)())


def variable_of(name: str) -> str:
    """Return the variable that has this server's URL for the platform, or for tests where the platform has none."""
    port = SERVERS[name].port
    return variable_for_tests(name) if port is None else f"LASTRO_{port.upper()}"


def variable_for_tests(name: str) -> str:
    """Return the variable by which tests are given a server that runs already."""
    return f"LASTRO_TEST_{name.upper().replace('-', '_')}"
