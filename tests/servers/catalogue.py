"""All servers, by name."""

from __future__ import annotations

from typing import Final

from tests.servers.kafka_server import KafkaServer
from tests.servers.mongodb_server import MongodbServer
from tests.servers.redis_server import RedisServer
from tests.servers.server import Server

_ALL: Final[tuple[Server, ...]] = (RedisServer(), KafkaServer(), MongodbServer())
SERVERS: Final = {server.name: server for server in _ALL}
