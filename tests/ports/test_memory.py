"""The ports in plain dictionaries."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

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
from shared.core.clock import ManualClock
from shared.core.flags import Flag
from shared.ports.documents import Commit, InvalidWrite, NonceUsed
from shared.ports.nonces import Nonce
from tests.ports.cache_suite import CacheSuite
from tests.ports.documents_suite import ACCOUNTS, COLLECTIONS, NOTES, DocumentsSuite, account, event, insert, note
from tests.ports.ledger_suite import LedgerSuite
from tests.ports.nonces_suite import NoncesSuite
from tests.ports.rate_limits_suite import RateLimitsSuite
from tests.ports.secrets_suite import SecretsSuite


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


class TestDocuments(DocumentsSuite):
    """The documents port in memory."""

    @pytest.fixture
    def documents(self) -> MemoryDocuments:
        return MemoryDocuments(COLLECTIONS)

    async def test_a_document_that_was_read_can_be_changed_without_effect(self, documents: MemoryDocuments) -> None:
        """A handler that changes a document in place changes only its own copy."""
        await insert(documents, NOTES, note("n1", a=[1]))
        found = await documents.get(NOTES, "ten_1", "n1")
        assert found is not None
        found["a"].append(2)
        assert await documents.get(NOTES, "ten_1", "n1") == note("n1", a=[1])

    @pytest.mark.parametrize("wrong", [{"status": 5}, {"held": "5"}, {"held": True}, {"iban": ["BR1"]}])
    async def test_a_value_of_another_type_is_refused(self, documents: MemoryDocuments, wrong: dict[str, Any]) -> None:
        """A document whose values do not match its type is an error."""
        with pytest.raises(InvalidWrite, match=next(iter(wrong))):
            await insert(documents, ACCOUNTS, account("a1", **wrong))
        assert await documents.get(ACCOUNTS, "ten_1", "a1") is None

    async def test_unsent_events_are_returned_until_they_are_marked(self, documents: MemoryDocuments) -> None:
        """`unsent` returns the events that are older than a time and not marked as sent, oldest first."""
        events = [event("e2", "2026-01-02"), event("e1", "2026-01-01"), event("e3", "2026-01-03")]
        await documents.commit(Commit("ten_1", events=events))
        assert [each.id for each in await documents.unsent("2026-01-03", 10)] == ["e1", "e2"]
        assert [each.id for each in await documents.unsent("2026-01-03", 1)] == ["e1"]
        await documents.mark_sent(events[:2])
        assert [each.id for each in await documents.unsent("2026-01-09", 10)] == ["e3"]


class TestLedger(LedgerSuite):
    """The ledger port in memory."""

    @pytest.fixture
    def ledger(self) -> MemoryLedger:
        return MemoryLedger()


class TestCache(CacheSuite):
    """The cache port in memory."""

    @pytest.fixture
    def cache(self, clock: ManualClock) -> MemoryCache:
        return MemoryCache(clock)


class TestNonces(NoncesSuite):
    """The nonces port in memory."""

    @pytest.fixture
    def nonces(self) -> MemoryNonces:
        return MemoryNonces()


class TestSecrets(SecretsSuite):
    """The secrets port in memory."""

    @pytest.fixture
    def secrets(self) -> MemorySecrets:
        return MemorySecrets()


class TestRateLimits(RateLimitsSuite):
    """The rate limits port in memory."""

    @pytest.fixture
    def clock(self) -> ManualClock:
        return ManualClock()

    @pytest.fixture
    def window(self) -> timedelta:
        return timedelta(seconds=1)

    @pytest.fixture
    def rate_limits(self, clock: ManualClock) -> MemoryRateLimits:
        return MemoryRateLimits(clock)


async def test_the_bus_stores_published_events() -> None:
    """The bus returns the published events in order."""
    bus = MemoryBus()
    await bus.publish([event("e1"), event("e2")])
    assert [each.id for each in bus.published] == ["e1", "e2"]


def test_a_flag_without_a_value_has_its_default() -> None:
    """A flag has its value, for all tenants or for the named ones, and without one its default."""
    on, some, off = (Flag(name, "release", default=False, description="") for name in ("on", "some", "off"))
    flags = MemoryFlags({on: True, some: ["ten_1"]})
    assert flags.enabled(on, None)
    assert flags.enabled(some, "ten_1")
    assert not flags.enabled(some, "ten_2")
    assert not flags.enabled(off, "ten_1")
    assert flags.enabled(off._replace(default=True), "ten_1")


async def test_a_nonce_is_committed_once() -> None:
    """A second commit with the nonce of an earlier one is refused and changes nothing."""
    documents = MemoryDocuments(())
    now = ManualClock().now()
    nonce = Nonce("ten_1", b"n", now, now)
    await documents.commit(Commit("ten_1", events=[event("e1")], nonce=nonce))
    with pytest.raises(NonceUsed):
        await documents.commit(Commit("ten_1", events=[event("e2")], nonce=nonce))
    assert [each.id for each in documents.events] == ["e1"]
