"""The ports in plain dictionaries, without durability: for fast tests, and as the reference for the behaviour of the
other adapters.

Documents are copied when they are written and read, so that a handler that changes one in place fails its tests.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from datetime import datetime
from functools import cache, partial
from typing import Any, Final, cast

from pydantic import TypeAdapter, ValidationError

from shared.adapters.memory.local_cache import LocalCache
from shared.core.clock import Clock, SystemClock
from shared.core.envelope import Envelope
from shared.core.flags import Flag
from shared.core.money import MAX_MINOR_UNITS
from shared.core.sliding_window import SECOND, Count, SlidingWindows
from shared.ports.documents import (
    PRIMARY_INDEX,
    AlreadyApplied,
    AlreadyExists,
    Change,
    Collection,
    Commit,
    D,
    GuardRefused,
    InboxMarker,
    InvalidWrite,
    NonceUsed,
    Place,
    Query,
    ReadToken,
    UnknownCollection,
    VersionConflict,
)
from shared.ports.ledger import (
    AccountTurnover,
    Cause,
    Entry,
    Leg,
    RecordedTransfer,
    Refusal,
    Transfer,
    TransferMismatch,
    check_balance,
    check_balanced,
    check_currency,
)
from shared.ports.lifecycle import Adapter
from shared.ports.nonces import Nonce
from shared.ports.secrets import Purpose

Document = dict[str, Any]
Rows = dict[tuple[str, str, str], Document]


class MemoryDocuments(Adapter):
    """The documents port. A commit changes a copy of all documents, which replaces them when every check has passed."""

    adapter_name = "store"

    answers_at_once: Final = True
    """A document is in memory."""

    def __init__(self, collections: Iterable[Collection[Any, ...]]) -> None:
        self._collections = frozenset(collections)
        self._rows: Rows = {}
        self._inbox: set[InboxMarker] = set()
        self._outbox: dict[tuple[str, str], Envelope] = {}
        self._nonces: set[tuple[str, bytes, datetime]] = set()
        self.events: list[Envelope] = []

    @property
    def read_token(self) -> None:
        """Return None: this store never loses a document that was read."""
        return None

    async def get(self, collection: Collection[D, ...], tenant_id: str, id: str) -> D | None:
        self._require(collection)
        return cast("D | None", deepcopy(self._rows.get((collection.name, tenant_id, id))))

    async def find(self, collection: Collection[D, ...], tenant_id: str | None, query: Query) -> Sequence[D]:
        self._require(collection)
        collection.check_query(query)
        found = [
            document
            for (name, owner, _), document in self._rows.items()
            if name == collection.name and tenant_id in (None, owner) and _matches(document, query)
        ]
        found.sort(key=partial(_place, query=query), reverse=query.newest_first)
        return cast("list[D]", deepcopy(found[: query.limit]))

    async def history(self, tenant_id: str, name: str, after: str | None, limit: int) -> Sequence[Envelope]:
        self.require_open()
        found = {
            event.history: event
            for event in self.events
            if event.history is not None and event.tenant_id == tenant_id and event.history.startswith(f"{name}/")
        }
        return [found[place] for place in sorted(found) if after is None or place > after][:limit]

    async def seen(self, marker: InboxMarker) -> bool:
        self.require_open()
        return marker in self._inbox

    async def commit(self, commit: Commit) -> None:
        self._require(*commit.collections())
        commit.check_fields()
        if commit.inbox in self._inbox:
            raise AlreadyApplied(f"{commit.inbox} is there")
        for collection, tenant_id, id, version in commit.expects:
            current = self._rows.get((collection.name, tenant_id, id))
            if current is None or current["version"] != version:
                raise VersionConflict(f"{collection.name}/{id} changed since it was read")
        rows = dict(self._rows)
        touched = list(_apply(rows, commit))
        for collection, key in touched:
            if key in rows:
                _check_type(collection, rows[key])
                _check_floors(collection, rows[key])
                _check_unique(collection, rows, key)
        self._take_nonce(commit)
        self._rows = rows
        if commit.inbox is not None:
            self._inbox.add(commit.inbox)
        for event in commit.events:
            self._outbox[event.source, event.id] = event
            self.events.append(event)

    def _take_nonce(self, commit: Commit) -> None:
        if commit.nonce is None:
            return
        key = (commit.nonce.tenant_id, commit.nonce.value, commit.nonce.issued_at)
        if key in self._nonces:
            raise NonceUsed("the signature has committed before")
        self._nonces.add(key)

    def _require(self, *collections: Collection[Any, ...]) -> None:
        self.require_open()
        for collection in collections:
            if collection not in self._collections:
                raise UnknownCollection(collection)

    async def durable(self, read_token: ReadToken | None = None) -> None:  # noqa: ARG002 - the port's signature
        """Return at once: nothing is ever made durable."""
        self.require_open()

    async def unsent(self, older_than: str, limit: int) -> Sequence[Envelope]:
        self.require_open()
        waiting = [event for event in self._outbox.values() if event.time is not None and event.time < older_than]
        return sorted(waiting, key=lambda event: event.time or "")[:limit]

    async def mark_sent(self, events: Sequence[Envelope]) -> None:
        self.require_open()
        for event in events:
            self._outbox.pop((event.source, event.id), None)


def _apply(rows: Rows, commit: Commit) -> Iterator[tuple[Collection[Any, ...], tuple[str, str, str]]]:
    for collection, document in commit.inserts:
        key = (collection.name, document["tenant_id"], document["id"])
        if key in rows:
            raise AlreadyExists(collection.name, PRIMARY_INDEX, document["id"])
        rows[key] = deepcopy(document)
        yield collection, key
    for collection, document in commit.replaces:
        key = (collection.name, document["tenant_id"], document["id"])
        if key not in rows or rows[key]["version"] != document["version"]:
            raise VersionConflict(f"{key} changed since it was read")
        rows[key] = {**deepcopy(document), "version": document["version"] + 1}
        yield collection, key
    for change in commit.changes:
        key = (change.collection.name, commit.tenant_id, change.id)
        rows[key] = _changed(rows.get(key), change)
        yield change.collection, key
    for collection, id in commit.deletes:
        rows.pop((collection.name, commit.tenant_id, id), None)


def _changed(current: Document | None, change: Change) -> Document:
    if current is None or any(current.get(name) != value for name, value in change.where.items()):
        raise GuardRefused(f"{change.collection.name}/{change.id} does not meet the condition of the change")
    document = {**current, **deepcopy(dict(change.assign)), "version": current["version"] + 1}
    for name, increment in change.increments.items():
        document[name] = document.get(name, 0) + increment
        if abs(document[name]) > MAX_MINOR_UNITS:
            raise GuardRefused(f"{name} would leave 64 bits")
    return document


def _check_type(collection: Collection[Any, ...], document: Document) -> None:
    """Validate a document against its type, including its values. The type checker relies on that."""
    try:
        _type_of(collection).validate_python(document)
    except ValidationError as error:
        raise InvalidWrite(f"{collection.name}/{document['id']}: {error}") from None


@cache
def _type_of(collection: Collection[Any, ...]) -> TypeAdapter[Any]:
    return TypeAdapter(collection.document)


def _check_floors(collection: Collection[Any, ...], document: Document) -> None:
    for floor in collection.floors:
        if sum(sign * (document.get(name) or 0) for name, sign in floor.terms) < 0:
            raise GuardRefused(f"{collection.name}/{document['id']} would fall below its floor")


def _check_unique(collection: Collection[Any, ...], rows: Rows, key: tuple[str, str, str]) -> None:
    for index in collection.indexes:
        values = [rows[key].get(name) for name in index.fields]
        if not index.unique or None in values:
            continue
        for other, document in rows.items():
            if other[:2] == key[:2] and other != key and [document.get(name) for name in index.fields] == values:
                raise AlreadyExists(collection.name, index.name, key[2])


def _matches(document: Document, query: Query) -> bool:
    if not _has(document, query.where):
        return False
    if query.any_of and not any(_has(document, fields) for fields in query.any_of):
        return False
    for name, (start, end) in query.ranges.items():
        value = document.get(name)
        if value is None or (start is not None and value < start) or (end is not None and value >= end):
            return False
    if query.order_by is not None and document.get(query.order_by) is None:
        return False
    if query.after is None:
        return True
    after = query.after if isinstance(query.after, Place) else (query.after,)
    place = _place(document, query)[: len(after)]
    return place < after if query.newest_first else place > after


def _place(document: Document, query: Query) -> tuple[Any, ...]:
    """Return the values by which the query orders documents."""
    by_id = (document["id"], document["tenant_id"])
    return by_id if query.order_by is None else (document[query.order_by], *by_id)


def _has(document: Document, fields: Mapping[str, Any]) -> bool:
    return all(document.get(name) == value for name, value in fields.items())


class MemoryLedger(Adapter):
    """The ledger port. Each balance is computed from all entries of the account."""

    adapter_name = "ledger"

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], RecordedTransfer | Refusal] = {}
        self._entries: dict[tuple[str, str], list[Entry]] = {}

    async def append(self, transfer: Transfer, recorded_at: str) -> RecordedTransfer | Refusal:
        self.require_open()
        check_balanced(transfer.legs)
        known = self._known.get((transfer.tenant_id, transfer.id))
        if isinstance(known, Refusal):
            return known
        if known is not None:
            if known.cause != transfer.cause or _legs(known) != transfer.legs:
                raise TransferMismatch(f"{transfer.id} is recorded with other legs or another cause")
            return known
        accounts = {leg.account_id: self._account(transfer.tenant_id, leg.account_id) for leg in transfer.legs}
        recorded_at = max([recorded_at, *(entries[-1].recorded_at for entries in accounts.values() if entries)])
        added: list[Entry] = []
        for position, leg in enumerate(transfer.legs):
            entry = _entry(transfer.id, position, leg, accounts[leg.account_id], recorded_at)
            accounts[leg.account_id].append(entry)
            added.append(entry)
        for account_id, entries in accounts.items():
            self._entries[transfer.tenant_id, account_id] = entries
        recorded = RecordedTransfer(
            transfer.tenant_id,
            transfer.id,
            transfer.cause,
            tuple(added),
            recorded_at,
            transfer.payment_id,
            transfer.description,
        )
        self._known[transfer.tenant_id, transfer.id] = recorded
        return recorded

    def _account(self, tenant_id: str, account_id: str) -> list[Entry]:
        return list(self._entries.get((tenant_id, account_id), ()))

    async def refuse(
        self, tenant_id: str, transfer_id: str, cause: Cause, reason: str, recorded_at: str
    ) -> RecordedTransfer | Refusal:
        self.require_open()
        refusal = Refusal(tenant_id, transfer_id, cause, reason, recorded_at)
        return self._known.setdefault((tenant_id, transfer_id), refusal)

    async def transfer(self, tenant_id: str, transfer_id: str) -> RecordedTransfer | None:
        self.require_open()
        known = self._known.get((tenant_id, transfer_id))
        if not isinstance(known, RecordedTransfer):
            return None
        check_balanced(_legs(known))
        return known

    async def entries(self, tenant_id: str, account_id: str, after_sequence: int, limit: int) -> Sequence[Entry]:
        self.require_open()
        entries = self._account(tenant_id, account_id)
        return [entry for entry in entries if entry.sequence > after_sequence][:limit]

    async def balance(self, tenant_id: str, account_id: str) -> int:
        self.require_open()
        entries = self._account(tenant_id, account_id)
        return entries[-1].balance_after if entries else 0

    async def turnover(self, tenant_id: str) -> Sequence[AccountTurnover]:
        self.require_open()
        lines = []
        for (owner, account_id), entries in self._entries.items():
            if owner == tenant_id:
                debits, credits = _sums(entries)
                lines.append(AccountTurnover(account_id, entries[0].currency, debits, credits))
        return sorted(lines, key=lambda line: (line.currency, line.account_id))


def _legs(recorded: RecordedTransfer) -> tuple[Leg, ...]:
    return tuple(Leg(entry.account_id, entry.direction, entry.amount, entry.currency) for entry in recorded.entries)


def _sums(entries: Sequence[Entry]) -> tuple[int, int]:
    debits = sum(entry.amount for entry in entries if entry.direction == "debit")
    return debits, sum(entry.amount for entry in entries) - debits


def _entry(transfer_id: str, position: int, leg: Leg, before: list[Entry], recorded_at: str) -> Entry:
    if before:
        check_currency(leg.account_id, before[0].currency, leg.currency)
    debits, credits = _sums(before)
    balance = credits - debits + (leg.amount if leg.direction == "credit" else -leg.amount)
    check_balance(leg.account_id, balance)
    return Entry(
        transfer_id,
        position,
        leg.account_id,
        leg.direction,
        leg.amount,
        leg.currency,
        len(before) + 1,
        balance,
        recorded_at,
    )


class MemoryCache(LocalCache):
    """The cache port with low bounds."""

    def __init__(self, clock: Clock | None = None, *, values: int = 10_000, deadlines: int = 10_000) -> None:
        super().__init__(clock or SystemClock(), values=values, deadlines=deadlines)


class MemoryNonces(Adapter):
    """The nonces port. A test can make it lose all nonces, as Redis may."""

    adapter_name = "store of nonces"

    def __init__(self) -> None:
        self._used: set[tuple[str, bytes, datetime]] = set()

    async def use_once(self, nonce: Nonce) -> bool:
        self.require_open()
        key = (nonce.tenant_id, nonce.value, nonce.issued_at)
        used = key in self._used
        self._used.add(key)
        return not used

    def forget(self) -> None:
        """Forget all nonces: each may then be used once more."""
        self._used.clear()


class MemoryBus(Adapter):
    """The bus port. It stores the published events for tests."""

    adapter_name = "bus"

    reads_the_outbox = False

    def __init__(self) -> None:
        self.published: list[Envelope] = []

    async def publish(self, events: Sequence[Envelope]) -> None:
        self.require_open()
        self.published += events


class MemorySecrets(Adapter):
    """The secrets port without encryption, for tests only: sealing adds the context to the text."""

    adapter_name = "vault"

    def __init__(self) -> None:
        self._named: dict[str, bytes] = {}

    async def get(self, name: str) -> bytes | None:
        self.require_open()
        return self._named.get(name)

    async def put(self, name: str, value: bytes) -> None:
        self.require_open()
        self._named[name] = value

    async def seal(
        self,
        plaintexts: Sequence[str],
        context: str,
        purpose: Purpose = "personal-data",  # noqa: ARG002 - there are no keys
    ) -> list[str]:
        self.require_open()
        return [f"sealed:{context}:{text.encode().hex()}" for text in plaintexts]

    async def open(self, sealed: Sequence[str], context: str) -> list[str]:
        self.require_open()
        prefix = f"sealed:{context}:"
        if not all(text.startswith(prefix) for text in sealed):
            raise ValueError("a field was not sealed by this store for this context")
        return [bytes.fromhex(text.removeprefix(prefix)).decode() for text in sealed]

    async def rewrap(self, sealed: Sequence[str], context: str) -> list[str]:
        await self.open(sealed, context)
        return list(sealed)

    async def blind_index(self, plaintext: str, context: str) -> str:
        self.require_open()
        return f"index:{context}:{plaintext.encode().hex()}"


class MemoryFlags(Adapter):
    """The flags port: `values` has a flag's value for all tenants, or the tenants for which it is on."""

    adapter_name = "store of flags"

    def __init__(self, values: Mapping[Flag, bool | Sequence[str]] | None = None) -> None:
        self.values = dict(values or {})

    def enabled(self, flag: Flag, tenant_id: str | None) -> bool:
        self.require_open()
        value = self.values.get(flag, flag.default)
        return value if isinstance(value, bool) else tenant_id in value


class MemoryRateLimits(Adapter):
    """The rate limits port. The time is the clock's monotonic one; `window` is the window's length in microseconds."""

    adapter_name = "store of rate limits"

    def __init__(self, clock: Clock | None = None, window: int = SECOND) -> None:
        self._clock = clock or SystemClock()
        self._windows = SlidingWindows(window)

    async def take(self, key: str, limit: int) -> Count:
        self.require_open()
        return self._windows.take(key, limit, round(self._clock.monotonic() * SECOND))
