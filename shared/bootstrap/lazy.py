"""Adapters for a function that runs alone: the first call of a port opens its adapter.

Until then, a loaded function has opened no file or connection and has imported no driver, so that a cold start is
short. This works for every adapter.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from shared.core.envelope import Envelope
from shared.ports.documents import Collection, Commit, D, InboxMarker, Query, ReadToken, Unavailable
from shared.ports.lifecycle import CLOSE_SECONDS, Adapter, Closed

if TYPE_CHECKING:
    from jwt import PyJWK

    from shared.core.flags import Flag
    from shared.core.sliding_window import Count
    from shared.ports.bus import Bus
    from shared.ports.cache import Cache
    from shared.ports.documents import Documents
    from shared.ports.flags import Flags
    from shared.ports.identity import Identity, NewClient
    from shared.ports.ledger import AccountTurnover, Cause, Entry, LedgerStore, RecordedTransfer, Refusal, Transfer
    from shared.ports.nonces import Nonce, Nonces
    from shared.ports.rate_limits import RateLimits
    from shared.ports.secrets import Purpose, Secrets

log = logging.getLogger(__name__)
_PROBE_SECONDS: Final = 1.0
MakeAdapter = Callable[[bool], Adapter]
"""Returns an adapter that is not open. The argument says whether its opening may wait for a server or another process;
if not, the opening fails immediately when one is unavailable."""


class LazyAdapter:
    """Opens an adapter once, with the first call that needs it.

    The opening is a separate task, which all callers share: cancelling a caller does not stop it.
    """

    def __init__(self, make: MakeAdapter, ports: str) -> None:
        """`ports` are the names of its ports, for messages."""
        self._make = make
        self._ports = ports
        self._opening: asyncio.Task[Adapter] | None = None
        self._failure: str | None = None
        self._is_closed = False
        self.opened: Adapter | None = None
        """The adapter when it is open, otherwise None."""

    async def adapter(self, *, wait: bool = True) -> Adapter:
        """Return the adapter, opened if necessary.

        Raises Unavailable, with the reason, while it cannot be opened, and Closed after `aclose`. Only the first
        attempt, if `wait`, waits for a server or another process.
        """
        if self.opened is not None:
            return self.opened
        self.require_open()
        opening = self._opening
        if opening is None:
            opening = self._opening = asyncio.create_task(self._open(wait=wait and self._failure is None))
        await asyncio.wait((opening,))
        if opening.cancelled():
            raise self._closed()
        return opening.result()

    def require_open(self) -> None:
        """Raise Closed after `aclose`."""
        if self._is_closed:
            raise self._closed()

    def _closed(self) -> Closed:
        return Closed(f"{self._ports}: closed, because the process ends")

    async def _open(self, *, wait: bool) -> Adapter:
        try:
            adapter = self._make(wait)
            await adapter.__aenter__()
        except Unavailable as error:
            self._failure = str(error)
            log.warning("%s cannot be opened: %s", self._ports, self._failure)
            raise
        finally:
            self._opening = None
        if self._failure is not None:
            log.info("%s: opened", self._ports)
        self._failure, self.opened = None, adapter
        return adapter

    def begin(self) -> None:
        """Open the adapter in the background, unless it is open or being opened. A failure is logged."""
        if self.opened is None and self._opening is None and not self._is_closed:
            self._opening = asyncio.create_task(self._open(wait=self._failure is None))
            self._opening.add_done_callback(_reason_was_logged)

    async def trouble(self) -> str | None:
        """Return the reason for which the adapter cannot serve now, or None. Opens it if necessary."""
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                return await (await self.adapter(wait=False)).trouble()
        except Unavailable as error:
            return str(error)
        except TimeoutError:
            return self._failure or f"{self._ports}: still being opened, or waiting for a server or another process"

    def impairment(self) -> str | None:
        """Return what does not work while the adapter can serve, or None."""
        return None if self.opened is None else self.opened.impairment()

    async def aclose(self, seconds: float = CLOSE_SECONDS) -> None:
        """Close the adapter, if it was opened; stop its opening. A second call does nothing."""
        self._is_closed = True
        opening = self._opening
        if opening is not None:
            opening.cancel()
            await asyncio.wait((opening,))
        if self.opened is not None:
            await self.opened.aclose(seconds)


def _reason_was_logged(opening: asyncio.Task[Adapter]) -> None:
    if not opening.cancelled():
        opening.exception()


def port_of(adapter: Adapter, name: str) -> Any:
    """Return a port of an adapter: its attribute of that name, or the adapter itself when it has a single port."""
    return getattr(adapter, name, adapter)


class LazyDocuments:
    """The documents port."""

    def __init__(self, lazy: LazyAdapter) -> None:
        self._lazy = lazy

    async def _documents(self) -> Documents:
        documents: Documents = port_of(await self._lazy.adapter(), "documents")
        return documents

    def _opened(self) -> Documents | None:
        return None if self._lazy.opened is None else port_of(self._lazy.opened, "documents")

    @property
    def read_token(self) -> ReadToken | None:
        opened = self._opened()
        return None if opened is None else opened.read_token

    @property
    def answers_at_once(self) -> bool:
        opened = self._opened()
        return opened is not None and opened.answers_at_once

    async def get(self, collection: Collection[D, ...], tenant_id: str, id: str) -> D | None:
        return await (await self._documents()).get(collection, tenant_id, id)

    async def find(self, collection: Collection[D, ...], tenant_id: str | None, query: Query) -> Sequence[D]:
        return await (await self._documents()).find(collection, tenant_id, query)

    async def history(self, tenant_id: str, name: str, after: str | None, limit: int) -> Sequence[Envelope]:
        return await (await self._documents()).history(tenant_id, name, after, limit)

    async def seen(self, marker: InboxMarker) -> bool:
        return await (await self._documents()).seen(marker)

    async def commit(self, commit: Commit) -> None:
        await (await self._documents()).commit(commit)

    async def durable(self, read_token: ReadToken | None = None) -> None:
        # Nothing was read or committed before the adapter was opened, so there is nothing to wait for.
        opened = self._opened()
        if opened is not None:
            await opened.durable(read_token)
        else:
            self._lazy.require_open()

    async def unsent(self, older_than: str, limit: int) -> Sequence[Envelope]:
        return await (await self._documents()).unsent(older_than, limit)

    async def mark_sent(self, events: Sequence[Envelope]) -> None:
        await (await self._documents()).mark_sent(events)


class LazyLedger:
    """The ledger port."""

    def __init__(self, lazy: LazyAdapter) -> None:
        self._lazy = lazy

    async def _ledger(self) -> LedgerStore:
        ledger: LedgerStore = port_of(await self._lazy.adapter(), "ledger")
        return ledger

    async def append(self, transfer: Transfer, recorded_at: str) -> RecordedTransfer | Refusal:
        return await (await self._ledger()).append(transfer, recorded_at)

    async def refuse(
        self, tenant_id: str, transfer_id: str, cause: Cause, reason: str, recorded_at: str
    ) -> RecordedTransfer | Refusal:
        return await (await self._ledger()).refuse(tenant_id, transfer_id, cause, reason, recorded_at)

    async def transfer(self, tenant_id: str, transfer_id: str) -> RecordedTransfer | None:
        return await (await self._ledger()).transfer(tenant_id, transfer_id)

    async def entries(self, tenant_id: str, account_id: str, after_sequence: int, limit: int) -> Sequence[Entry]:
        return await (await self._ledger()).entries(tenant_id, account_id, after_sequence, limit)

    async def balance(self, tenant_id: str, account_id: str) -> int:
        return await (await self._ledger()).balance(tenant_id, account_id)

    async def turnover(self, tenant_id: str) -> Sequence[AccountTurnover]:
        return await (await self._ledger()).turnover(tenant_id)


class LazyCache:
    """The cache port."""

    def __init__(self, lazy: LazyAdapter) -> None:
        self._lazy = lazy

    async def _cache(self) -> Cache:
        cache: Cache = port_of(await self._lazy.adapter(), "cache")
        return cache

    async def get(self, key: str) -> bytes | None:
        return await (await self._cache()).get(key)

    async def set(self, key: str, value: bytes, ttl_seconds: float) -> None:
        await (await self._cache()).set(key, value, ttl_seconds)

    async def lock(self, key: str, ttl_seconds: float) -> int | None:
        return await (await self._cache()).lock(key, ttl_seconds)

    async def unlock(self, key: str, token: int) -> None:
        await (await self._cache()).unlock(key, token)

    async def schedule(self, key: str, due: datetime) -> None:
        await (await self._cache()).schedule(key, due)

    async def unschedule(self, key: str) -> None:
        await (await self._cache()).unschedule(key)

    async def due(self, now: datetime, limit: int) -> Sequence[str]:
        return await (await self._cache()).due(now, limit)

    async def clear(self) -> None:
        await (await self._cache()).clear()


class LazyNonces:
    """The nonces port."""

    def __init__(self, lazy: LazyAdapter) -> None:
        self._lazy = lazy

    async def use_once(self, nonce: Nonce) -> bool:
        nonces: Nonces = port_of(await self._lazy.adapter(), "nonces")
        return await nonces.use_once(nonce)


class LazyRateLimits:
    """The rate limits port."""

    def __init__(self, lazy: LazyAdapter) -> None:
        self._lazy = lazy

    async def take(self, key: str, limit: int) -> Count:
        rate_limits: RateLimits = port_of(await self._lazy.adapter(), "rate_limits")
        return await rate_limits.take(key, limit)


class LazyBus:
    """The bus port of a bus that does not read the outbox itself."""

    reads_the_outbox = False

    def __init__(self, lazy: LazyAdapter) -> None:
        self._lazy = lazy

    async def publish(self, events: Sequence[Envelope]) -> None:
        bus: Bus = port_of(await self._lazy.adapter(), "bus")
        await bus.publish(events)


class LazyIdentity:
    """The identity port."""

    def __init__(self, lazy: LazyAdapter) -> None:
        self._lazy = lazy

    async def key(self, kid: str) -> PyJWK | None:
        identity: Identity = port_of(await self._lazy.adapter(), "identity")
        return await identity.key(kid)

    async def register(self, client: NewClient) -> None:
        identity: Identity = port_of(await self._lazy.adapter(), "identity")
        await identity.register(client)


class LazySecrets:
    """The secrets port."""

    def __init__(self, lazy: LazyAdapter) -> None:
        self._lazy = lazy

    async def _secrets(self) -> Secrets:
        secrets: Secrets = port_of(await self._lazy.adapter(), "secrets")
        return secrets

    async def get(self, name: str) -> bytes | None:
        return await (await self._secrets()).get(name)

    async def put(self, name: str, value: bytes) -> None:
        await (await self._secrets()).put(name, value)

    async def seal(self, plaintexts: Sequence[str], context: str, purpose: Purpose = "personal-data") -> list[str]:
        return await (await self._secrets()).seal(plaintexts, context, purpose)

    async def open(self, sealed: Sequence[str], context: str) -> list[str]:
        return await (await self._secrets()).open(sealed, context)

    async def rewrap(self, sealed: Sequence[str], context: str) -> list[str]:
        return await (await self._secrets()).rewrap(sealed, context)

    async def blind_index(self, plaintext: str, context: str) -> str:
        return await (await self._secrets()).blind_index(plaintext, context)


class LazyFlags:
    """The flags port of a server. Its first use opens the adapter in the background; until then flags have their
    defaults. A readiness probe opens it before the first request."""

    def __init__(self, lazy: LazyAdapter) -> None:
        self._lazy = lazy

    def enabled(self, flag: Flag, tenant_id: str | None) -> bool:
        opened = self._lazy.opened
        if opened is None:
            self._lazy.require_open()
            self._lazy.begin()
            return flag.default
        flags: Flags = port_of(opened, "flags")
        return flags.enabled(flag, tenant_id)
