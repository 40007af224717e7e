"""The pytest plugin for tests against real servers, by the name of their URL, and the mark `real`.

A test that asks for such a URL has the mark `real` by itself, and runs only with `-m real` (`task test:real`). The
server is the one that a variable names, such as LASTRO_TEST_CASSANDRA. Where that is not set, the run
starts one for all its tests and workers, and ends it however the run ends. Tests share a server: each uses names of its
own.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Protocol

import pytest

from tests.servers.catalogue import SERVERS, server_of, variable_for_tests
from tests.servers.installing import CACHE, Unavailable
from tests.servers.processes import Processes
from tests.servers.supervision import up, using, wait_until_ended

FIXTURES: Final = {f"{name.replace('-', '_')}_url": name for name in SERVERS}
_FOLDER: Final = "lastro_servers"
_INHERITED: Final = "on_servers"
_KEEP_SECONDS: Final = 7 * 24 * 3600
_folder = pytest.StashKey[Path]()
_urls = pytest.StashKey[dict[str, str | Unavailable]]()
_uses = pytest.StashKey[ExitStack]()


class _Node(Protocol):
    """xdist's view of a worker, in the process that starts it."""

    config: pytest.Config
    workerinput: dict[str, str]


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Choose the folder of this run's servers, which all its workers share."""
    config.addinivalue_line("markers", "real: needs a real server; runs with `-m real` only (`task test:real`)")
    config.stash[_urls] = {}
    config.stash[_uses] = ExitStack()
    given = getattr(config, "workerinput", None)
    if given is not None:
        config.stash[_folder] = Path(given[_FOLDER])


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: _Node) -> None:
    """Send the folder of this run's servers to a worker."""
    node.workerinput[_FOLDER] = str(_folder_of(node.config))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the tests that need a server, before `-m` selects by marks.

    The modules in a folder `on_servers` repeat the tests of others on servers. What uses none there is left out.
    """
    repeated = []
    for item in items:
        if not FIXTURES.keys().isdisjoint(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.real)
        elif item.path.parent.name == _INHERITED:
            repeated.append(item)
    if repeated:
        config.hook.pytest_deselected(items=repeated)
        items[:] = [item for item in items if item not in repeated]


def pytest_collection_finish(session: pytest.Session) -> None:
    """Start the servers of the selected tests concurrently, before the timeout of the first test begins."""
    config = session.config
    if config.option.collectonly:
        return
    wanted = {name for item in session.items for name in getattr(item, "fixturenames", ())}
    needed = [name for fixture, name in FIXTURES.items() if fixture in wanted]
    given = {name: os.environ.get(variable_for_tests(name)) for name in needed}
    config.stash[_urls].update({name: url for name, url in given.items() if url})
    missing = [name for name in needed if not given[name]]
    if not missing:
        return
    folder = _folder_of(config)
    for name in missing:
        config.stash[_uses].enter_context(using(name, folder))
    with ThreadPoolExecutor() as pool:
        config.stash[_urls].update(pool.map(lambda name: (name, _started(name, folder)), missing))


def pytest_unconfigure(config: pytest.Config) -> None:
    """Release the servers. The first process of the run waits until they have ended."""
    config.stash[_uses].close()
    if _folder in config.stash and not hasattr(config, "workerinput"):
        for name in SERVERS:
            wait_until_ended(name, config.stash[_folder])


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    """Processes of one test only: one of them is killed, or counted, or has certificates of its own."""
    own = Processes(tmp_path / "processes")
    yield own
    own.stop()


@pytest.fixture(scope="session")
def cassandra_url(pytestconfig: pytest.Config) -> str:
    """`cassandra://127.0.0.1:PORT/lastro?dc=dc1&replicas=1`: one Cassandra node. The keyspace does not exist."""
    return _url(pytestconfig, "cassandra")


@pytest.fixture(scope="session")
def cassandra_cluster_url(pytestconfig: pytest.Config) -> str:
    """`cassandra://127.0.0.1:PORT,127.0.0.2:PORT,127.0.0.3:PORT/lastro?dc=dc1&replicas=3`: three Cassandra nodes."""
    return _url(pytestconfig, "cassandra-cluster")


@pytest.fixture(scope="session")
def kafka_cluster_url(pytestconfig: pytest.Config) -> str:
    """`kafka://127.0.0.1:PORT,127.0.0.1:PORT,127.0.0.1:PORT`: three brokers; a record is acknowledged by two."""
    return _url(pytestconfig, "kafka-cluster")


@pytest.fixture(scope="session")
def kafka_tls_url(pytestconfig: pytest.Config) -> str:
    """`kafka+tls://127.0.0.1:PORT?sasl=…&username=…&password=…&ca=…`: one broker that demands TLS and a login."""
    return _url(pytestconfig, "kafka-tls")


@pytest.fixture(scope="session")
def kafka_url(pytestconfig: pytest.Config) -> str:
    """`kafka://127.0.0.1:PORT`: one broker of Apache Kafka. Topics must be created before they are used."""
    return _url(pytestconfig, "kafka")


@pytest.fixture(scope="session")
def keycloak_url(pytestconfig: pytest.Config) -> str:
    """`http://127.0.0.1:PORT/realms/lastro`: the realm of knative/platform/keycloak; `keycloak_realms` makes others."""
    return _url(pytestconfig, "keycloak")


@pytest.fixture(scope="session")
def mongodb_url(pytestconfig: pytest.Config) -> str:
    """`mongodb://127.0.0.1:PORT/lastro?replicaSet=rs0`: MongoDB's wire protocol on the DocumentDB engine."""
    return _url(pytestconfig, "mongodb")


@pytest.fixture(scope="session")
def openbao_url(pytestconfig: pytest.Config) -> str:
    """`vault+http://127.0.0.1:PORT`: one OpenBao, unsealed, whose root token is `openbao_server.ROOT_TOKEN`."""
    return _url(pytestconfig, "openbao")


@pytest.fixture(scope="session")
def redis_sentinel_url(pytestconfig: pytest.Config) -> str:
    """`redis+sentinel://127.0.0.1:PORT,…/lastro`: a Redis with a replica and three Sentinels."""
    return _url(pytestconfig, "redis-sentinel")


@pytest.fixture(scope="session")
def toxiproxy_url(pytestconfig: pytest.Config) -> str:
    """`http://127.0.0.1:PORT`: the API of Toxiproxy, for `toxiproxy_server.Proxy`."""
    return _url(pytestconfig, "toxiproxy")


@pytest.fixture(scope="session")
def redis_url(pytestconfig: pytest.Config) -> str:
    """`redis://127.0.0.1:PORT/0`: one Redis that keeps nothing on disk."""
    return _url(pytestconfig, "redis")


@pytest.fixture(scope="session")
def unleash_url(pytestconfig: pytest.Config) -> str:
    """`unleash+http://:TOKEN@127.0.0.1:PORT/api`: one Unleash, whose tokens are in `unleash_server`."""
    return _url(pytestconfig, "unleash")


def _url(config: pytest.Config, name: str) -> str:
    url = config.stash[_urls][name]
    if isinstance(url, Unavailable):
        pytest.fail(f"there is no {name} to test with: {url}", pytrace=False)
    return url


def _started(name: str, folder: Path) -> str | Unavailable:
    try:
        return up(server_of(name), folder, while_used=True)
    except Unavailable as error:
        return error


def _folder_of(config: pytest.Config) -> Path:
    """Return the folder of this run's servers. Their logs stay there; those of earlier weeks are removed."""
    if _folder not in config.stash:
        runs = CACHE / "runs"
        runs.mkdir(parents=True, exist_ok=True)
        for old in runs.iterdir():
            if old.stat().st_mtime < time.time() - _KEEP_SECONDS:
                shutil.rmtree(old, ignore_errors=True)
        config.stash[_folder] = Path(tempfile.mkdtemp(prefix="", dir=runs))
    return config.stash[_folder]
