"""The encryption in knative/platform/cassandra on a real Cassandra: its options, with certificates of the tests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

import pytest
import yaml

from shared.adapters.cassandra.schema import migrate
from shared.adapters.cassandra.store import CassandraStore
from shared.adapters.cassandra.url import CassandraUrl
from shared.ports.lifecycle import NotOpened
from tests.authority import Authority, authority
from tests.servers import cassandra_server
from tests.servers.cassandra_server import CassandraServer
from tests.servers.processes import Processes

pytestmark = pytest.mark.real

CONFIG = Path(__file__).parents[2] / "knative" / "platform" / "cassandra" / "config" / "cassandra.json"
NAME = "nodes.cassandra.tests"


def options(own: Authority) -> str:
    """Return the options of encryption in the manifests, with the tests' files."""
    ours = {
        key: value for key, value in json.loads(CONFIG.read_text())["cassandra-yaml"].items() if "encryption" in key
    }
    assert ours.keys() == {"client_encryption_options", "server_encryption_options"}
    text = yaml.safe_dump(ours).replace("/tls/tls-combined.pem", str(own.server))
    return text.replace("/tls/ca.crt", str(own.ca)).replace("{", "{{").replace("}", "}}")


class CassandraTlsServer(CassandraServer):
    """One node that accepts TLS only, for clients and for other nodes."""

    name: ClassVar[str] = "cassandra-tls"

    def __init__(self, own: Authority) -> None:
        self._own = own

    def wait_until_ready(self, processes: Processes, url: str) -> None:  # type: ignore[override]
        """Wait until the node accepts connections with TLS. Raises Unavailable."""
        CassandraServer.wait_until_ready(processes, self.encrypted(url))

    def encrypted(self, url: str) -> str:
        """Return the URL with TLS, the authority and the name in the certificate."""
        return f"{url.replace('cassandra://', 'cassandra+tls://')}&ca={quote(str(self._own.ca))}&name={NAME}"


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a Cassandra with the encryption of the manifests."""
    own = authority(tmp_path, hosts=(NAME,))
    monkeypatch.setattr(cassandra_server, "_YAML", f"{cassandra_server._YAML}{options(own)}")
    processes = Processes(tmp_path / "servers")
    server = CassandraTlsServer(own)
    server.install()
    try:
        yield server.encrypted(server.start(processes))
    finally:
        processes.stop()


async def test_cassandra_takes_the_options_of_the_manifests(url: str) -> None:
    """Cassandra starts with the key and the certificates as cert-manager writes them, the ledger is made and opened
    over TLS, and a connection without TLS is refused."""
    await migrate(CassandraUrl.parse(url), lambda _: None)
    async with CassandraStore(f"{url}&wait=0") as opened:
        assert await opened.trouble() is None
    plain = url.replace("cassandra+tls://", "cassandra://").partition("&ca=")[0]
    with pytest.raises(NotOpened):
        await CassandraStore(f"{plain}&wait=0").__aenter__()
