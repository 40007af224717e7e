"""The platform of the inherited tests: on MongoDB, Cassandra, Redis and Kafka together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.contract.calling import Client, Deployment, Pair, new_pair, running
from tests.servers.stores import Urls, stores


@pytest.fixture(scope="session")
def urls(mongodb_url: str, cassandra_url: str, redis_url: str, kafka_url: str) -> Iterator[Urls]:
    """A database, a keyspace, names in Redis, and topics for these tests."""
    with stores(mongodb_url, cassandra_url, redis_url, kafka_url) as urls:
        yield urls


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def deployment(urls: Urls, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Deployment]:
    """A platform on the servers."""
    async with running(tmp_path_factory.mktemp("contract"), **urls._asdict()) as started:
        yield started


# These depend on the deployment, so that the tests here do not get those of the embedded platform.


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def demo(deployment: Deployment) -> Client:
    """The demo tenant with every scope."""
    return await deployment.tenant()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def operator(deployment: Deployment) -> Client:
    """The platform's operator."""
    return await deployment.operator()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def pair(demo: Client) -> Pair:
    """Two accounts of the demo tenant."""
    return await new_pair(demo)
