"""The ports of adapters that are opened by their first use behave as the adapters do."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from shared.adapters.memory.stores import MemoryCache, MemoryDocuments, MemoryLedger, MemoryNonces, MemorySecrets
from shared.bootstrap.lazy import LazyAdapter, LazyCache, LazyDocuments, LazyLedger, LazyNonces, LazySecrets
from shared.core.clock import ManualClock
from shared.ports.lifecycle import Adapter
from tests.ports.cache_suite import CacheSuite
from tests.ports.documents_suite import COLLECTIONS, DocumentsSuite
from tests.ports.ledger_suite import LedgerSuite
from tests.ports.nonces_suite import NoncesSuite
from tests.ports.secrets_suite import SecretsSuite


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def adapter(request: pytest.FixtureRequest, clock: ManualClock) -> Adapter:
    """The adapter of the class's port."""
    made: Adapter = request.cls.make(clock)
    return made


@pytest.fixture
async def lazy(adapter: Adapter) -> AsyncIterator[LazyAdapter]:
    lazy = LazyAdapter(lambda _: adapter, "port")
    yield lazy
    await lazy.aclose()


class TestDocuments(DocumentsSuite):
    """The documents port."""

    @staticmethod
    def make(_: ManualClock) -> Adapter:
        return MemoryDocuments(COLLECTIONS)

    @pytest.fixture
    def documents(self, lazy: LazyAdapter) -> LazyDocuments:
        return LazyDocuments(lazy)


class TestLedger(LedgerSuite):
    """The ledger port."""

    @staticmethod
    def make(_: ManualClock) -> Adapter:
        return MemoryLedger()

    @pytest.fixture
    def ledger(self, lazy: LazyAdapter) -> LazyLedger:
        return LazyLedger(lazy)


class TestCache(CacheSuite):
    """The cache port."""

    @staticmethod
    def make(clock: ManualClock) -> Adapter:
        return MemoryCache(clock)

    @pytest.fixture
    def cache(self, lazy: LazyAdapter) -> LazyCache:
        return LazyCache(lazy)


class TestNonces(NoncesSuite):
    """The nonces port."""

    @staticmethod
    def make(_: ManualClock) -> Adapter:
        return MemoryNonces()

    @pytest.fixture
    def nonces(self, lazy: LazyAdapter) -> LazyNonces:
        return LazyNonces(lazy)


class TestSecrets(SecretsSuite):
    """The secrets port."""

    @staticmethod
    def make(_: ManualClock) -> Adapter:
        return MemorySecrets()

    @pytest.fixture
    def secrets(self, lazy: LazyAdapter) -> LazySecrets:
        return LazySecrets(lazy)
