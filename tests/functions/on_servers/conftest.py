"""The harness of the inherited tests, on real servers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.functions.on_servers.recorded import on_servers
from tests.functions.webhooks.conftest import receiver
from tests.functions.webhooks.hooks import SETTINGS
from tests.harness import Harness
from tests.servers.stores import Urls, stores

__all__ = ["receiver"]


@pytest.fixture(scope="session")
def urls(mongodb_url: str, cassandra_url: str, redis_url: str, kafka_url: str) -> Iterator[Urls]:
    """A database, a keyspace, names in Redis, and topics for these tests."""
    with stores(mongodb_url, cassandra_url, redis_url, kafka_url) as urls:
        yield urls


@pytest.fixture
async def harness(urls: Urls, tmp_path: Path) -> AsyncIterator[Harness]:
    """Every function on the servers, with one tenant, `acme`."""
    async with on_servers(urls, tmp_path / "data") as made:
        await made.tenant()
        yield made


@pytest.fixture
def crowded(harness: Harness) -> Harness:
    """The same: calls of servers are interleaved anyway."""
    return harness


@pytest.fixture
async def hooks(urls: Urls, tmp_path: Path) -> AsyncIterator[Harness]:
    """The same in the present, with webhooks that may go to this machine."""
    async with on_servers(urls, tmp_path / "data", SETTINGS) as made:
        made.clock.jump(datetime.now(UTC) - made.clock.now())
        await made.tenant()
        yield made
