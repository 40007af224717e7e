"""All servers, by name."""

from __future__ import annotations

from typing import Final

from tests.servers.cassandra_server import CassandraServer
from tests.servers.kafka_server import KafkaClusterServer, KafkaServer
from tests.servers.keycloak_server import KeycloakServer
from tests.servers.mongodb_server import MongodbServer
from tests.servers.openbao_server import OpenbaoServer
from tests.servers.redis_sentinel_server import RedisSentinelServer
from tests.servers.redis_server import RedisServer
from tests.servers.server import Server
from tests.servers.toxiproxy_server import ToxiproxyServer
from tests.servers.unleash_server import UnleashServer

_ALL: Final[tuple[Server, ...]] = (
    RedisServer(),
    KafkaServer(),
    MongodbServer(),
    CassandraServer(),
    OpenbaoServer(),
    KeycloakServer(),
    UnleashServer(),
    RedisSentinelServer(),
    KafkaClusterServer(),
    ToxiproxyServer(),
)
SERVERS: Final = {server.name: server for server in _ALL}
USUAL: Final = tuple({server.port: server for server in reversed(_ALL) if server.port is not None}.values())[::-1]
"""One server for each port of the platform: what `servers:up` starts without a name."""


def variable_of(server: Server) -> str:
    """Return the variable that has this server's URL for the platform, or for tests where the platform has none."""
    return f"LASTRO_{server.port.upper()}" if server.port is not None else variable_for_tests(server)


def variable_for_tests(server: Server) -> str:
    """Return the variable by which tests are given a server that runs already."""
    return f"LASTRO_TEST_{server.name.upper().replace('-', '_')}"
