"""The opening and closing of every adapter."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest

from shared.adapters.bank_transfer.rail import HttpBankTransfers
from shared.adapters.files.keyfile import KeyFileSecrets
from shared.adapters.files.yaml_flags import YamlFlags
from shared.adapters.keycloak.clients import AdminAccess, RealmClients
from shared.adapters.keycloak.realm import KeycloakRealm
from shared.adapters.memory.local_cache import LocalCache
from shared.adapters.memory.stores import (
    MemoryBus,
    MemoryCache,
    MemoryDocuments,
    MemoryFlags,
    MemoryLedger,
    MemoryNonces,
    MemoryRateLimits,
    MemorySecrets,
)
from shared.adapters.otlp.export import OtlpLink
from shared.adapters.otlp.variables import read_variables
from shared.adapters.pix.rail import PixHttpRail
from shared.adapters.sqlite.log_bus import LogBus
from shared.adapters.sqlite.store import SqliteStore
from shared.core.clock import ManualClock, SystemClock
from shared.core.settings import Settings
from shared.identity.keys import JwksClient
from shared.ports.lifecycle import WriterKind
from shared.telemetry.recorder import Telemetry
from tests.ports.documents_suite import COLLECTIONS
from tests.ports.lifecycle_suite import LifecycleSuite, Make, Uses, assert_nothing_is_left, left_open
from tests.ports.port_uses import (
    bus_uses,
    cache_uses,
    document_uses,
    flag_uses,
    joined,
    ledger_uses,
    nonce_uses,
    rate_limit_uses,
    secret_uses,
)
from tests.realm import serving_realm
from tests.shared.adapters.otlp.receiver import receiving
from tests.waiting import rest


def sqlite_uses(store: SqliteStore) -> list[Callable[[], Any]]:
    return joined(
        document_uses(store.documents), ledger_uses(store.ledger), nonce_uses(store.nonces), bus_uses(store.bus)
    )


class SqliteLifecycle(LifecycleSuite):
    """The embedded store."""

    writer: WriterKind
    has_inbox = True

    @pytest.fixture
    def make(self, tmp_path: Path) -> Make:
        settings = Settings(data_lock_seconds=0.0)
        return lambda: SqliteStore(
            tmp_path / "data",
            collections=COLLECTIONS,
            settings=settings,
            clock=SystemClock(),
            writer=self.writer,
            has_inbox=self.has_inbox,
        )

    @pytest.fixture
    def uses(self) -> Uses:
        return sqlite_uses


class TestSqliteThread(SqliteLifecycle):
    """The embedded store of a function."""

    writer = "thread"

    async def test_a_cancelled_wait_for_another_process_leaves_nothing(self, make: Make, tmp_path: Path) -> None:
        """An opening that is cancelled while it waits for the data directory leaves no open file."""
        patient = SqliteStore(
            tmp_path / "data", collections=(), settings=Settings(data_lock_seconds=3600.0), clock=SystemClock()
        )
        async with make():
            before = left_open()
            opening = asyncio.create_task(patient.__aenter__())
            await rest()
            assert not opening.done()
            opening.cancel()
            await asyncio.wait((opening,))
            await assert_nothing_is_left(before)


class TestSqliteProcess(SqliteLifecycle):
    """The embedded store of the platform."""

    writer = "process"


class TestSqliteWithoutDocuments(SqliteLifecycle):
    """The embedded store when the documents are elsewhere."""

    writer = "thread"
    has_inbox = False


class TestLocalCache(LifecycleSuite):
    """The cache in this process."""

    @pytest.fixture
    def make(self) -> Make:
        return lambda: LocalCache(ManualClock(), values=10, deadlines=10)

    @pytest.fixture
    def uses(self) -> Uses:
        return cache_uses


class TestKeyFile(LifecycleSuite):
    """The secrets in a key file."""

    @pytest.fixture
    def make(self, tmp_path: Path) -> Make:
        return lambda: KeyFileSecrets(tmp_path)

    @pytest.fixture
    def uses(self) -> Uses:
        return secret_uses


class TestYamlFlags(LifecycleSuite):
    """The flags in a file."""

    @pytest.fixture
    def make(self, tmp_path: Path) -> Make:
        return lambda: YamlFlags(tmp_path / "flags.yaml", ManualClock(), 15)

    @pytest.fixture
    def uses(self) -> Uses:
        return flag_uses


class TestLogBus(LifecycleSuite):
    """The bus that is the embedded store's log."""

    @pytest.fixture
    def make(self) -> Make:
        return LogBus

    @pytest.fixture
    def uses(self) -> Uses:
        return bus_uses


class TestPixRail(LifecycleSuite):
    """The PIX rail."""

    @pytest.fixture
    def make(self) -> Make:
        transport = httpx.MockTransport(lambda _: httpx.Response(200, json={}))
        return lambda: PixHttpRail("http://provider.test", client=httpx.AsyncClient(transport=transport))

    @pytest.fixture
    def uses(self) -> Uses:
        return lambda rail: [partial(rail.request_charge, "ref", 5, "BRL", "http://lastro.test/callback")] * 2


class TestBankTransferRail(LifecycleSuite):
    """The bank transfer rail."""

    @pytest.fixture
    def make(self) -> Make:
        transport = httpx.MockTransport(lambda _: httpx.Response(404))
        return lambda: HttpBankTransfers("http://bank.test", httpx.AsyncClient(transport=transport))

    @pytest.fixture
    def uses(self) -> Uses:
        return lambda rail: [partial(rail.state, "ABCDEFGHIJ2345672345")] * 2


class TestKeycloakRealm(LifecycleSuite):
    """The realm of LASTRO_IDENTITY."""

    @pytest.fixture
    async def make(self) -> AsyncIterator[Make]:
        clock = SystemClock()
        async with serving_realm(clock) as realm:
            access = AdminAccess("", "", "")
            yield lambda: KeycloakRealm(realm.url, JwksClient(realm.url, clock), RealmClients(access, clock), 0.0)

    @pytest.fixture
    def uses(self) -> Uses:
        return lambda realm: [partial(realm.key, "unknown")]


class TestOtlp(LifecycleSuite):
    """The export of telemetry."""

    @pytest.fixture(autouse=True)
    def _collector(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        for name in [name for name in os.environ if name.startswith("OTEL_")]:
            monkeypatch.delenv(name)
        with receiving() as receiver:
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
            yield

    @pytest.fixture
    def make(self) -> Make:
        return lambda: OtlpLink(Telemetry(Random(1), 1.0, parent_based=True), read_variables(os.environ, 1.0))

    @pytest.fixture
    def uses(self) -> Uses:
        traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        return lambda link: [partial(link.export, "payments/get_payment", "server", traceparent, None, 0.1, {})]


class MemoryLifecycle(LifecycleSuite):
    """An adapter in plain dictionaries."""

    adapter: Make
    calls: Uses

    @pytest.fixture
    def make(self) -> Make:
        return type(self).adapter

    @pytest.fixture
    def uses(self) -> Uses:
        return type(self).calls


class TestMemoryDocuments(MemoryLifecycle):
    """The documents in memory."""

    adapter = partial(MemoryDocuments, COLLECTIONS)
    calls = staticmethod(document_uses)


class TestMemoryLedger(MemoryLifecycle):
    """The ledger in memory."""

    adapter = MemoryLedger
    calls = staticmethod(ledger_uses)


class TestMemoryCache(MemoryLifecycle):
    """The cache in memory."""

    adapter = MemoryCache
    calls = staticmethod(cache_uses)


class TestMemoryNonces(MemoryLifecycle):
    """The nonces in memory."""

    adapter = MemoryNonces
    calls = staticmethod(nonce_uses)


class TestMemoryBus(MemoryLifecycle):
    """The bus in memory."""

    adapter = MemoryBus
    calls = staticmethod(bus_uses)


class TestMemorySecrets(MemoryLifecycle):
    """The secrets in memory."""

    adapter = MemorySecrets
    calls = staticmethod(secret_uses)


class TestMemoryRateLimits(MemoryLifecycle):
    """The rate limits in memory."""

    adapter = MemoryRateLimits
    calls = staticmethod(rate_limit_uses)


class TestMemoryFlags(MemoryLifecycle):
    """The flags in memory."""

    adapter = MemoryFlags
    calls = staticmethod(flag_uses)
