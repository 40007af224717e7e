"""The opening and closing of the connection to MongoDB, and what a start refuses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from motor.frameworks import asyncio as motor_threads

from shared.adapters.mongodb.store import MongoStore, mongodb_store
from shared.bootstrap.adapters import MONGODB, choose
from shared.core.clock import SystemClock
from shared.core.settings import InvalidSettings, Settings
from shared.ports.lifecycle import AdapterOptions, NotOpened
from tests.ports.documents_suite import COLLECTIONS
from tests.ports.lifecycle_suite import LifecycleSuite, Make, Uses
from tests.ports.mongodb_databases import dropped, migrated, new_database
from tests.ports.port_uses import document_uses, joined, nonce_uses

NOWHERE = "mongodb://user:pa55@127.0.0.1:1/books?serverSelectionTimeoutMS=50"


@pytest.fixture(scope="module")
def database(mongodb_url: str) -> Iterator[str]:
    """The URL of a database with the collections of the suite."""
    url = new_database(mongodb_url)
    migrated(url, COLLECTIONS)
    yield url
    dropped(url)


@pytest.fixture(autouse=True)
def threads() -> None:
    """Start all threads in which Motor calls: they end with the process and not with a connection."""
    for _ in range(motor_threads.max_workers):
        motor_threads._EXECUTOR._idle_semaphore = _NeverIdle()  # type: ignore[assignment]  # all that the pool uses
        motor_threads._EXECUTOR.submit(int)


class _NeverIdle:
    """Makes the pool of threads start one more with each call."""

    def acquire(self, timeout: float) -> bool:
        """Return that no thread is idle."""
        return False

    def release(self) -> None:
        """Do nothing."""


def mongo_uses(store: MongoStore) -> list[Callable[[], Any]]:
    """Return one call of each method of both ports."""
    return joined(document_uses(store.documents), nonce_uses(store.nonces))


class TestMongoStore(LifecycleSuite):
    """The connection to MongoDB."""

    @pytest.fixture
    def make(self, database: str) -> Make:
        return lambda: MongoStore(database, lambda: COLLECTIONS)

    @pytest.fixture
    def uses(self) -> Uses:
        return mongo_uses


async def test_a_database_that_was_not_migrated_stops_the_start(mongodb_url: str) -> None:
    """A start on an empty database fails with one line that names the server, the database and what to do."""
    with pytest.raises(NotOpened) as refused:
        async with MongoStore(new_database(mongodb_url), lambda: COLLECTIONS):
            pass
    assert "MongoDB at 127.0.0.1:" in str(refused.value)
    assert "has no schema of Lastro: run `lastro migrate`" in str(refused.value)


@pytest.mark.parametrize("waits", [True, False])
async def test_a_server_that_does_not_answer_stops_the_start(waits: bool) -> None:
    """A start without a server fails with one line that names it without the password, and leaves nothing open."""
    settings = Settings(documents=NOWHERE)
    options = AdapterOptions(
        NOWHERE, frozenset({"documents"}), settings, SystemClock(), lambda: COLLECTIONS, waits=waits
    )
    with pytest.raises(NotOpened) as refused:
        async with mongodb_store(options):
            pass
    assert str(refused.value).startswith("MongoDB at 127.0.0.1:1: no primary of MongoDB can be reached (127.0.0.1:1: ")
    assert "refused" in str(refused.value)


async def test_a_bad_url_stops_the_start() -> None:
    """A URL that the driver cannot follow fails with one line that names the setting."""
    with pytest.raises(NotOpened, match="LASTRO_DOCUMENTS cannot be used: it is not a URL") as refused:
        async with MongoStore("mongodb://user:pa@55@h/x", lambda: COLLECTIONS):
            pass
    assert "55" not in str(refused.value)


async def test_a_server_that_goes_away_is_trouble(database: str) -> None:
    """While the server does not answer, the readiness says so; when the connection is closed, that."""
    async with MongoStore(database, lambda: COLLECTIONS) as store:
        assert await store.trouble() is None
        await store._server.aclose()
        trouble = await store.trouble()
        assert trouble is not None
        assert trouble.startswith("MongoDB at 127.0.0.1:")
    assert await store.trouble() == "the connection to MongoDB is closed"


def test_a_signature_does_not_outlive_its_nonce() -> None:
    """A window of signatures that is longer than the server stores nonces is refused at start."""
    settings = Settings(documents=NOWHERE, timestamp_window_seconds=43_201)
    options = AdapterOptions(NOWHERE, frozenset({"nonces"}), settings, SystemClock(), lambda: COLLECTIONS)
    with pytest.raises(InvalidSettings, match="LASTRO_TIMESTAMP_WINDOW_SECONDS is at most 43200"):
        mongodb_store(options)
    mongodb_store(options._replace(settings=settings._replace(timestamp_window_seconds=43_200)))
    mongodb_store(options._replace(ports=frozenset({"documents"})))


@pytest.mark.parametrize("url", ["mongodb://h/x", "mongodb+srv://h/x", "MongoDB://h/x"])
def test_a_url_selects_mongodb_for_documents_and_nonces(url: str) -> None:
    """The documents and, unless the cache is on a server, the nonces are in the database of the URL."""
    choices = choose(Settings(documents=url))
    assert choices["documents"] == choices["nonces"] == (MONGODB, url)
    assert choices["ledger"] != choices["documents"]
