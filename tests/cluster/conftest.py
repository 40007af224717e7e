"""The cluster that the tests of this folder share, and a client of its tenant."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cli.client import Client
from tests.cluster import node
from tests.cluster.cluster import Cluster
from tests.cluster.go_programs import missing
from tests.cluster.places import CACHE
from tests.cluster.releasing import Traffic
from tests.cluster.starting import start, stop


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The cluster that `cluster:up` has left, or one that is started for these tests and ended after them."""
    found = Cluster()
    if found.is_running():
        yield found
        return
    absent = missing(cache=CACHE)
    if absent:
        pytest.skip(f"not built yet: {', '.join(absent)}; `python -m tests.cluster build` takes an hour")
    try:
        start(found)
        yield found
    finally:
        stop(found)
        assert node.traces() == []


@pytest.fixture
def client(cluster: Cluster) -> Iterator[Client]:
    with Client.of(cluster.state / "client") as made:
        yield made


@pytest.fixture
def traffic(cluster: Cluster, client: Client) -> Traffic:
    """Load from an account with money to another."""
    return Traffic.prepared(cluster.state / "client", client)
