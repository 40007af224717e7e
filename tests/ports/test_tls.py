"""TLS and logins of the adapters: the right authority and password are accepted, and others are refused.

Only Kafka speaks TLS itself here. Before the other servers stands a relay that does, because their test servers listen
without it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, urlsplit
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer

from shared.adapters.cassandra.schema import migrate
from shared.adapters.cassandra.store import CassandraStore
from shared.adapters.cassandra.url import CassandraUrl
from shared.adapters.kafka.address import read_address as read_kafka
from shared.adapters.kafka.bus import KafkaBus, kafka_bus
from shared.adapters.kafka.connecting import login_of
from shared.adapters.kafka.topics import WantedTopic, apply
from shared.adapters.mongodb.store import MongoStore
from shared.adapters.vault.address import read_address as read_vault
from shared.adapters.vault.secrets import VaultSecrets
from shared.core.clock import ManualClock, SystemClock
from shared.core.envelope import Envelope
from shared.core.settings import InvalidSettings, Settings
from shared.ports.lifecycle import Adapter, AdapterOptions, NotOpened
from tests.authority import authority, tls_before
from tests.servers.openbao_server import ROOT_TOKEN

IMPATIENT = Settings(start_seconds=0.1)


class Files(NamedTuple):
    """Files with the certificates of the authority that signed the server's, and of another authority."""

    own: str
    other: str


class Behind(NamedTuple):
    """A port that speaks TLS, and the files with authorities."""

    port: int
    files: Files


async def behind(url: str, folder: Path) -> AsyncIterator[Behind]:
    """Put TLS before the server of a URL."""
    own, other = authority(folder), authority(folder, "others")
    port = urlsplit(url).port
    assert port is not None
    async with tls_before(port, own) as accepting:
        yield Behind(accepting, Files(quote(str(own.ca)), quote(str(other.ca))))


@pytest.fixture
async def vault(openbao_url: str, tmp_path: Path) -> AsyncIterator[Behind]:
    """A Vault that speaks TLS."""
    async for each in behind(openbao_url, tmp_path):
        yield each


@pytest.fixture
async def cassandra(cassandra_url: str, tmp_path: Path) -> AsyncIterator[Behind]:
    """A Cassandra that speaks TLS, with the ledger's tables."""
    await migrate(CassandraUrl.parse(cassandra_url), lambda _: None)
    async for each in behind(cassandra_url, tmp_path):
        yield each


@pytest.fixture
async def mongodb(mongodb_url: str, tmp_path: Path) -> AsyncIterator[Behind]:
    """A server of MongoDB's protocol that speaks TLS."""
    async for each in behind(mongodb_url, tmp_path):
        yield each


async def refusal(adapter: Adapter) -> str:
    """Return why an adapter cannot be opened."""
    with pytest.raises(NotOpened) as refused:
        await adapter.__aenter__()
    return str(refused.value)


async def test_vault_is_used_over_tls(vault: Behind, tmp_path: Path) -> None:
    """Vault's certificate is accepted when the authority in `ca` signed it, and no request is sent otherwise."""
    token = tmp_path / "token"
    token.write_text(ROOT_TOKEN)

    def secrets(scheme: str, ca: str) -> VaultSecrets:
        url = f"{scheme}://127.0.0.1:{vault.port}?auth=token&token_file={quote(str(token))}{ca}"
        return VaultSecrets(read_vault(url), IMPATIENT, SystemClock())

    async with secrets("vault+https", f"&ca={vault.files.own}") as opened:
        assert await opened.trouble() is None
    assert "TLS failed" in await refusal(secrets("vault+https", f"&ca={vault.files.other}"))
    assert "TLS failed" in await refusal(secrets("vault+https", ""))
    assert "LASTRO_SECRETS cannot be used" in await refusal(secrets("vault+http", ""))


async def test_cassandra_is_used_over_tls(cassandra: Behind, tmp_path: Path) -> None:
    """Cassandra's certificate is accepted when the authority in `ca` signed it; a file that cannot be read is named."""

    def ledger(scheme: str, ca: str) -> CassandraStore:
        return CassandraStore(f"{scheme}://127.0.0.1:{cassandra.port}/lastro?dc=dc1&wait=0{ca}")

    async with ledger("cassandra+tls", f"&ca={cassandra.files.own}") as opened:
        assert await opened.turnover("ten_tls") == []
        assert await opened.trouble() is None
    assert "CERTIFICATE_VERIFY_FAILED" in await refusal(ledger("cassandra+tls", f"&ca={cassandra.files.other}"))
    assert "CERTIFICATE_VERIFY_FAILED" in await refusal(ledger("cassandra+tls", ""))
    assert "LASTRO_LEDGER cannot be used" in await refusal(ledger("cassandra", ""))
    missing = quote(str(tmp_path / "missing.pem"))
    assert "certificates in ca cannot be read: No such file" in await refusal(ledger("cassandra+tls", f"&ca={missing}"))


async def test_cassandra_may_have_one_name_for_all_its_addresses(cassandra_url: str, tmp_path: Path) -> None:
    """A certificate that has a name and no address is accepted from a node that is reached by its address when the URL
    has this `name`, and refused with another name or without one."""
    await migrate(CassandraUrl.parse(cassandra_url), lambda _: None)
    own = authority(tmp_path, hosts=("nodes.cassandra.tests",))
    port = urlsplit(cassandra_url).port
    assert port is not None
    async with tls_before(port, own) as accepting:

        def ledger(name: str) -> CassandraStore:
            ca = quote(str(own.ca))
            return CassandraStore(f"cassandra+tls://127.0.0.1:{accepting}/lastro?dc=dc1&wait=0&ca={ca}{name}")

        async with ledger("&name=nodes.cassandra.tests") as opened:
            assert await opened.trouble() is None
        assert "CERTIFICATE_VERIFY_FAILED" in await refusal(ledger(""))
        assert "CERTIFICATE_VERIFY_FAILED" in await refusal(ledger("&name=others.cassandra.tests"))


async def test_documents_are_used_over_tls(mongodb: Behind) -> None:
    """The certificate of MongoDB is accepted when the authority in `tlsCAFile` signed it."""
    name = f"test_{uuid4().hex[:12]}"

    def store(options: str) -> MongoStore:
        url = f"mongodb://127.0.0.1:{mongodb.port}/{name}?directConnection=true&serverSelectionTimeoutMS=2000{options}"
        return MongoStore(url, list)

    assert "has no schema of Lastro" in await refusal(store(f"&tls=true&tlsCAFile={mongodb.files.own}"))
    assert "CERTIFICATE_VERIFY_FAILED" in await refusal(store(f"&tls=true&tlsCAFile={mongodb.files.other}"))
    assert "CERTIFICATE_VERIFY_FAILED" in await refusal(store("&tls=true"))
    assert await refusal(store(""))


def bus(url: str) -> KafkaBus:
    """Return an adapter that is not open, and does not wait for long."""
    return kafka_bus(AdapterOptions(url, frozenset({"bus"}), IMPATIENT, ManualClock(), list))


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"])
async def test_kafka_is_used_over_tls_with_a_login(kafka_tls_url: str, mechanism: str) -> None:
    """Events are published and read over TLS with each mechanism of the login."""
    url = f"{kafka_tls_url.replace('sasl=SCRAM-SHA-512', f'sasl={mechanism}')}&prefix=tls-{uuid4().hex}."
    address = read_kafka(url)
    assert address.sasl == mechanism
    await apply(address, Settings(), [WantedTopic("lastro.suite.v1", 1, 1, {})], dry_run=False)
    sent = Envelope.of({"id": "e1", "source": "/lastro/suite/x", "type": "suite.v1", "partitionkey": "ten_1/x"}, b"{}")
    async with bus(url) as opened:
        await opened.publish([sent])
        assert await opened.trouble() is None
    name = address.on_server("lastro.suite.v1")
    async with AIOKafkaConsumer(name, **login_of(address), auto_offset_reset="earliest") as consumer:
        assert (await consumer.getone()).value == b"{}"


async def test_kafka_refuses_other_logins(kafka_tls_url: str, tmp_path: Path) -> None:
    """A wrong password, another authority and a connection without TLS are refused, and no message has the password."""
    other = quote(str(authority(tmp_path, "others").ca))
    server = urlsplit(kafka_tls_url).netloc
    password = "wrong-pa55"
    wrong = kafka_tls_url.replace("password=password-of-the-tests", f"password={password}")
    ca = kafka_tls_url.rpartition("&ca=")[2]
    texts = {
        "password": await refusal(bus(wrong)),
        "authority": await refusal(bus(kafka_tls_url.replace(ca, other))),
        "plain": await refusal(bus(f"kafka://{server}")),
    }
    assert all(text.startswith(f"LASTRO_BUS cannot be used: Kafka at {server}: ") for text in texts.values()), texts
    assert not any(word in text for text in texts.values() for word in (password, "password-of-the-tests"))
    missing = bus(kafka_tls_url.replace(ca, quote(str(tmp_path / "missing.pem"))))
    with pytest.raises(InvalidSettings, match="the certificates in ca cannot be read: No such file"):
        await missing.__aenter__()
