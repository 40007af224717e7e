"""The list of servers."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.servers import fixtures
from tests.servers.catalogue import SERVERS, USUAL, server_of, variable_for_tests, variable_of
from tests.servers.supervision import ROOT


@pytest.mark.parametrize("name", SERVERS)
def test_every_server_has_its_name_and_a_fixture(name: str) -> None:
    """Each server can be found by its name and has a fixture."""
    assert server_of(name).name == name
    assert hasattr(fixtures, f"{name.replace('-', '_')}_url")


def test_one_server_for_each_port_is_started_without_names() -> None:
    """`servers:up` without names starts one server for each setting of the platform."""
    assert USUAL == ("redis", "kafka", "mongodb", "cassandra", "openbao", "keycloak", "unleash")
    assert (variable_of("kafka"), variable_of("kafka-cluster")) == ("LASTRO_BUS", "LASTRO_BUS")
    assert variable_of("toxiproxy") == "LASTRO_TEST_TOXIPROXY"
    assert variable_for_tests("redis-sentinel") == "LASTRO_TEST_REDIS_SENTINEL"


def test_the_plugin_imports_no_driver() -> None:
    """Tests that need no server do not wait for the import of a driver."""
    drivers = ("aiokafka", "cassandra", "hvac", "httpx", "pymongo", "redis")
    code = f"import sys, tests.servers.fixtures; print([name for name in {drivers} if name in sys.modules])"
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout == "[]\n"
