"""A database, a keyspace and topics of the tests' own on MongoDB, Cassandra, Redis and Kafka together."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from typing import NamedTuple
from uuid import uuid4

from embedded.manifests.loading import load
from embedded.manifests.topics import wanted_topics
from shared.adapters.cassandra import schema
from shared.adapters.cassandra.driver import Connection
from shared.adapters.cassandra.url import CassandraUrl
from shared.adapters.kafka.address import read_address
from shared.adapters.kafka.topics import apply, capped
from shared.adapters.mongodb.driver import Server
from shared.adapters.mongodb.migration import migrate
from shared.core.settings import Settings
from shared.records.catalogue import COLLECTIONS
from tests.harness import ROOT
from tests.ports.mongodb_databases import new_database


class Urls(NamedTuple):
    """The settings that name the servers."""

    documents: str
    ledger: str
    cache: str
    bus: str


@contextmanager
def stores(mongodb: str, cassandra: str, redis: str, kafka: str) -> Iterator[Urls]:
    """Prepare the servers, and drop the database and the keyspace at the end. Used outside of an event loop."""
    urls = asyncio.run(_prepared(mongodb, cassandra, redis, kafka))
    yield urls
    asyncio.run(_dropped(urls))


async def _prepared(mongodb: str, cassandra: str, redis: str, kafka: str) -> Urls:
    """Create a database, a keyspace and topics, as `lastro migrate` and `lastro topics apply` do."""
    name = f"test_{uuid4().hex[:12]}"
    urls = Urls(
        new_database(mongodb),
        cassandra.replace("/lastro?", f"/{name}?"),
        f"{redis}?namespace={name}",
        f"{kafka}?prefix={name}.&group={name}",
    )
    async with aclosing(Server(urls.documents)) as server:
        await migrate(server, COLLECTIONS, lambda _: None)
    await schema.migrate(CassandraUrl.parse(urls.ledger), lambda _: None)
    topics = [capped(topic, 1) for topic in wanted_topics(load(ROOT))]
    await apply(read_address(urls.bus), Settings(), topics, dry_run=False)
    return urls


async def _dropped(urls: Urls) -> None:
    """Drop the database and the keyspace. The topics stay until their server ends."""
    async with aclosing(Server(urls.documents)) as server:
        await server.command({"dropDatabase": 1})
    connection = await Connection.open(CassandraUrl.parse(urls.ledger))
    try:
        await connection.define("DROP KEYSPACE {keyspace}")
    finally:
        await connection.close()
