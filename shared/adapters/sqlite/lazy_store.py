"""The embedded store for a function started alone. The first call of a port opens it.

Until then, a loaded function opens no file and does not import the driver.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from shared.core.clock import Clock
from shared.core.envelope import Envelope
from shared.core.settings import Settings
from shared.ports.documents import Collection, Commit, D, InboxMarker, Query, ReadToken, Unavailable

if TYPE_CHECKING:
    from shared.adapters.sqlite.store import SqliteStore
    from shared.ports.ledger import AccountTurnover, Cause, Entry, RecordedTransfer, Refusal, Transfer
    from shared.ports.nonces import Nonce

log = logging.getLogger(__name__)
_PROBE_SECONDS: Final = 1.0
Opener = Callable[[], Awaitable["SqliteStore"]]


class LazyStore:
    """Opens the settings' data directory once, with the first call."""

    def __init__(
        self, settings: Settings, clock: Clock, collections: Callable[[], Iterable[Collection[Any, ...]]]
    ) -> None:
        """`collections` is called when the store is opened, because it loads the types of their documents."""
        self._settings = settings
        self._clock = clock
        self._collections = collections
        self._opening = asyncio.Lock()
        self._failure: str | None = None
        self.opened: SqliteStore | None = None
        self.documents = LazyDocuments(self)
        self.ledger = LazyLedger(self.store)
        self.cache = LazyCache(self.store)
        self.nonces = LazyNonces(self.store)

    async def store(self) -> SqliteStore:
        """Return the store, opened if necessary. Raises Unavailable, with the reason, while it cannot be opened, for
        example because another process uses the data directory. Only the first call waits for that process
        (`data_lock_seconds`)."""
        return self.opened or await self._opened(wait=True)

    async def _opened(self, *, wait: bool) -> SqliteStore:
        async with self._opening:
            if self.opened is None:
                self.opened = await self._open(wait=wait and self._failure is None)
            return self.opened

    async def _open(self, *, wait: bool) -> SqliteStore:
        import sqlite3

        from shared.adapters.sqlite.store import DataDirectoryInUse, SchemaTooNew, SqliteStore, WriterFailed

        settings = self._settings if wait else self._settings._replace(data_lock_seconds=0.0)
        try:
            store = await SqliteStore.open(
                settings.data_path, collections=self._collections(), settings=settings, clock=self._clock
            )
        except (DataDirectoryInUse, SchemaTooNew, WriterFailed, sqlite3.Error, OSError) as error:
            self._failure = str(error)
            log.warning("the store cannot be opened: %s", self._failure)
            raise Unavailable(self._failure) from None
        self._failure = None
        return store

    async def trouble(self) -> str | None:
        """Return why the store cannot be used now, or None. Opens it if necessary."""
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                return (self.opened or await self._opened(wait=False)).trouble()
        except Unavailable as error:
            return str(error)
        except TimeoutError:
            place = self._settings.data_path
            return self._failure or f"the store in {place} is being opened, or waits for another process to release it"

    async def close(self) -> None:
        """Close the store, if it was opened."""
        if self.opened is not None:
            await self.opened.close()


class LazyDocuments:
    """The documents port of a LazyStore: the first call opens the store."""

    def __init__(self, lazy: LazyStore) -> None:
        self._lazy = lazy

    @property
    def read_token(self) -> ReadToken | None:
        return None if self._lazy.opened is None else self._lazy.opened.documents.read_token

    async def get(self, collection: Collection[D, ...], tenant_id: str, id: str) -> D | None:
        return await (await self._lazy.store()).documents.get(collection, tenant_id, id)

    async def find(self, collection: Collection[D, ...], tenant_id: str | None, query: Query) -> Sequence[D]:
        return await (await self._lazy.store()).documents.find(collection, tenant_id, query)

    async def history(self, tenant_id: str, name: str, after: str | None, limit: int) -> Sequence[Envelope]:
        return await (await self._lazy.store()).documents.history(tenant_id, name, after, limit)

    async def seen(self, marker: InboxMarker) -> bool:
        return await (await self._lazy.store()).documents.seen(marker)

    async def commit(self, commit: Commit) -> None:
        await (await self._lazy.store()).documents.commit(commit)

    async def durable(self, read_token: ReadToken | None = None) -> None:
        # Nothing was read or committed before the store was opened, so there is nothing to wait for.
        if self._lazy.opened is not None:
            await self._lazy.opened.documents.durable(read_token)

    async def unsent(self, older_than: str, limit: int) -> Sequence[Envelope]:
        return await (await self._lazy.store()).documents.unsent(older_than, limit)

    async def mark_sent(self, events: Sequence[Envelope]) -> None:
        await (await self._lazy.store()).documents.mark_sent(events)


class LazyLedger:
    """The ledger port of a LazyStore."""

    def __init__(self, store: Opener) -> None:
        self._store = store

    async def append(self, transfer: Transfer, recorded_at: str) -> RecordedTransfer | Refusal:
        return await (await self._store()).ledger.append(transfer, recorded_at)

    async def refuse(
        self, tenant_id: str, transfer_id: str, cause: Cause, reason: str, recorded_at: str
    ) -> RecordedTransfer | Refusal:
        return await (await self._store()).ledger.refuse(tenant_id, transfer_id, cause, reason, recorded_at)

    async def transfer(self, tenant_id: str, transfer_id: str) -> RecordedTransfer | None:
        return await (await self._store()).ledger.transfer(tenant_id, transfer_id)

    async def entries(self, tenant_id: str, account_id: str, after_sequence: int, limit: int) -> Sequence[Entry]:
        return await (await self._store()).ledger.entries(tenant_id, account_id, after_sequence, limit)

    async def balance(self, tenant_id: str, account_id: str) -> int:
        return await (await self._store()).ledger.balance(tenant_id, account_id)

    async def turnover(self, tenant_id: str) -> Sequence[AccountTurnover]:
        return await (await self._store()).ledger.turnover(tenant_id)


class LazyCache:
    """The cache port of a LazyStore."""

    def __init__(self, store: Opener) -> None:
        self._store = store

    async def get(self, key: str) -> bytes | None:
        return await (await self._store()).cache.get(key)

    async def set(self, key: str, value: bytes, ttl_seconds: float) -> None:
        await (await self._store()).cache.set(key, value, ttl_seconds)

    async def lock(self, key: str, ttl_seconds: float) -> int | None:
        return await (await self._store()).cache.lock(key, ttl_seconds)

    async def unlock(self, key: str, token: int) -> None:
        await (await self._store()).cache.unlock(key, token)

    async def schedule(self, key: str, due: datetime) -> None:
        await (await self._store()).cache.schedule(key, due)

    async def unschedule(self, key: str) -> None:
        await (await self._store()).cache.unschedule(key)

    async def due(self, now: datetime, limit: int) -> Sequence[str]:
        return await (await self._store()).cache.due(now, limit)

    async def clear(self) -> None:
        await (await self._store()).cache.clear()


class LazyNonces:
    """The nonces port of a LazyStore."""

    def __init__(self, store: Opener) -> None:
        self._store = store

    async def use_once(self, nonce: Nonce) -> bool:
        return await (await self._store()).nonces.use_once(nonce)
