"""The ledger port on the embedded store: rows that cannot be changed, numbered for each account without gaps.

Every entry has the running sums of its account. A balance is therefore read from one row, and a trial balance from
one row for each account, independent of the length of the ledger.
"""

from __future__ import annotations

import sqlite3
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import orjson

from shared.adapters.sqlite.journal import Journal
from shared.adapters.sqlite.recent_ids import RecentIds
from shared.adapters.sqlite.writer import Row, Statement
from shared.core.crash_points import reach
from shared.core.money import MAX_MINOR_UNITS
from shared.ports.ledger import (
    AccountTurnover,
    Cause,
    Entry,
    LedgerDamaged,
    Leg,
    RecordedTransfer,
    Refusal,
    Transfer,
    TransferMismatch,
    check_balance,
    check_balanced,
    check_currency,
)

_INSERT_ACCOUNT: Final = "INSERT INTO ledger_accounts (tenant_id, account_id, currency) VALUES (?, ?, ?)"
_INSERT_TRANSFER: Final = (
    "INSERT INTO transfers (tenant_id, id, cause_type, cause_id, payment_id, description, recorded_at, refused, lines) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_INSERT_ENTRY: Final = (
    "INSERT INTO entries (tenant_id, account_id, sequence, transfer_id, leg, direction, amount, currency, "
    "debits_after, credits_after, debits_carry, credits_carry, recorded_at) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_ENTRY: Final = (
    "transfer_id, leg, account_id, direction, amount, currency, sequence, "
    "credits_after - debits_after, recorded_at, credits_carry - debits_carry"
)
_SELECT_HEAD: Final = (
    "SELECT currency, sequence, debits_after, credits_after, recorded_at, debits_carry, credits_carry FROM entries "
    "WHERE tenant_id = ? AND account_id = ? ORDER BY sequence DESC LIMIT 1"
)
_SELECT_TURNOVER: Final = """
SELECT a.account_id, a.currency, e.debits_after, e.credits_after, e.debits_carry, e.credits_carry
FROM ledger_accounts AS a JOIN entries AS e ON e.tenant_id = a.tenant_id AND e.account_id = a.account_id
WHERE a.tenant_id = ? AND e.sequence = (
    SELECT max(sequence) FROM entries WHERE tenant_id = a.tenant_id AND account_id = a.account_id
)
ORDER BY a.currency, a.account_id
"""

_CARRY_BITS: Final = 63
Known = RecordedTransfer | Refusal
Place = tuple[str, str]


class _Head(NamedTuple):
    """The state of an account after its last entry."""

    currency: str
    sequence: int
    debits: int
    credits: int
    recorded_at: str


class SqliteLedger:
    """The ledger port on SQLite. `append` and `refuse` may wait for the writer first, and then run without
    suspension."""

    def __init__(self, journal: Journal, reader: sqlite3.Connection, *, cached: int) -> None:
        """`cached` is the greatest number of accounts whose last entry stays in memory."""
        self._journal = journal
        self._reader = reader
        self._cached = cached
        self._heads: OrderedDict[Place, _Head] = OrderedDict()
        self._moved: set[Place] = set()
        self._moved_in_flight: set[Place] = set()
        self._known: dict[Place, Known] = {}
        self._known_in_flight: dict[Place, Known] = {}
        self._accounts: list[Row] = []
        self._transfers: list[Row] = []
        self._entries: list[Row] = []
        self._recent: RecentIds[str] = RecentIds(self._greatest)

    async def append(self, transfer: Transfer, recorded_at: str) -> Known:
        check_balanced(transfer.legs)
        if self._journal.full:
            await self._journal.room()
        known = self._find(transfer.tenant_id, transfer.id)
        if known is None:
            return self._record(transfer, recorded_at)
        if isinstance(known, RecordedTransfer) and (known.cause != transfer.cause or _legs(known) != transfer.legs):
            raise TransferMismatch(f"{transfer.id} is recorded with other legs or another cause")
        return known

    async def refuse(self, tenant_id: str, transfer_id: str, cause: Cause, reason: str, recorded_at: str) -> Known:
        if self._journal.full:
            await self._journal.room()
        known = self._find(tenant_id, transfer_id)
        if known is not None:
            return known
        refusal = Refusal(tenant_id, transfer_id, cause, reason, recorded_at)
        row = (tenant_id, transfer_id, cause.type, cause.id, None, None, recorded_at, reason, "[]")
        self._remember(refusal, row)
        return refusal

    async def transfer(self, tenant_id: str, transfer_id: str) -> RecordedTransfer | None:
        known = self._find(tenant_id, transfer_id)
        if not isinstance(known, RecordedTransfer):
            return None
        check_balanced(_legs(known))
        return known

    async def entries(self, tenant_id: str, account_id: str, after_sequence: int, limit: int) -> Sequence[Entry]:
        await self._journal.durable()
        sql = (
            f"SELECT {_ENTRY} FROM entries WHERE tenant_id = ? AND account_id = ? AND sequence > ? "
            "ORDER BY sequence LIMIT ?"
        )
        rows = self._reader.execute(sql, (tenant_id, account_id, after_sequence, limit)).fetchall()
        return [_entry_of(row) for row in rows]

    async def balance(self, tenant_id: str, account_id: str) -> int:
        head = self._head((tenant_id, account_id))
        return 0 if head is None else head.credits - head.debits

    async def turnover(self, tenant_id: str) -> Sequence[AccountTurnover]:
        await self._journal.durable()
        rows = self._reader.execute(_SELECT_TURNOVER, (tenant_id,)).fetchall()
        return [
            AccountTurnover(account_id, currency, _sum(debits, debits_carry), _sum(credits, credits_carry))
            for account_id, currency, debits, credits, debits_carry, credits_carry in rows
        ]

    # Decisions

    def _record(self, transfer: Transfer, recorded_at: str) -> RecordedTransfer:
        tenant_id = transfer.tenant_id
        heads: dict[str, _Head | None] = {}
        for leg in transfer.legs:
            if leg.account_id not in heads:
                head = heads[leg.account_id] = self._head((tenant_id, leg.account_id))
                if head is not None and head.recorded_at > recorded_at:
                    # The times of an account's entries never decrease, also when the clock was set back between two
                    # runs.
                    recorded_at = head.recorded_at
        opened = [account_id for account_id, head in heads.items() if head is None]
        entries: list[Entry] = []
        rows: list[Row] = []
        for position, leg in enumerate(transfer.legs):
            head = heads[leg.account_id] = _moved(heads[leg.account_id], leg, recorded_at)
            entries.append(
                Entry(
                    transfer.id,
                    position,
                    leg.account_id,
                    leg.direction,
                    leg.amount,
                    leg.currency,
                    head.sequence,
                    head.credits - head.debits,
                    recorded_at,
                )
            )
            rows.append(
                (
                    tenant_id,
                    leg.account_id,
                    head.sequence,
                    transfer.id,
                    position,
                    leg.direction,
                    leg.amount,
                    leg.currency,
                    head.debits & MAX_MINOR_UNITS,
                    head.credits & MAX_MINOR_UNITS,
                    head.debits >> _CARRY_BITS,
                    head.credits >> _CARRY_BITS,
                    recorded_at,
                )
            )
        recorded = RecordedTransfer(
            tenant_id,
            transfer.id,
            transfer.cause,
            tuple(entries),
            recorded_at,
            transfer.payment_id,
            transfer.description,
        )
        self._remember(recorded, _transfer_row(recorded))
        self._entries += rows
        for account_id, head in heads.items():
            assert head is not None
            place = (tenant_id, account_id)
            self._heads[place] = head
            self._moved.add(place)
        for account_id in opened:
            head = heads[account_id]
            assert head is not None
            self._accounts.append((tenant_id, account_id, head.currency))
        reach("ledger.recorded")
        return recorded

    def _remember(self, known: Known, row: Row) -> None:
        self._known[known.tenant_id, known.id] = known
        self._recent.add(known.tenant_id, known.id)
        self._transfers.append(row)
        self._journal.touch(1024)

    # Memory and look-ups

    def _head(self, place: Place) -> _Head | None:
        head = self._heads.get(place)
        if head is not None:
            self._heads.move_to_end(place)
            return head
        row = self._reader.execute(_SELECT_HEAD, place).fetchone()
        if row is None:
            return None
        currency, sequence, debits, credits, recorded_at, debits_carry, credits_carry = row
        debits, credits = _sum(debits, debits_carry), _sum(credits, credits_carry)
        head = self._heads[place] = _Head(currency, sequence, debits, credits, recorded_at)
        self._trim()
        return head

    def _trim(self) -> None:
        for _ in range(len(self._heads) - self._cached):
            place, head = self._heads.popitem(last=False)
            if place in self._moved or place in self._moved_in_flight:
                self._heads[place] = head

    def _find(self, tenant_id: str, transfer_id: str) -> Known | None:
        if self._recent.certainly_absent(tenant_id, transfer_id):
            return None
        place = (tenant_id, transfer_id)
        return self._known.get(place) or self._known_in_flight.get(place) or self._stored(place)

    def _stored(self, place: Place) -> Known | None:
        sql = (
            "SELECT cause_type, cause_id, payment_id, description, recorded_at, refused, lines FROM transfers "
            "WHERE tenant_id = ? AND id = ?"
        )
        row = self._reader.execute(sql, place).fetchone()
        if row is None:
            return None
        cause_type, cause_id, payment_id, description, recorded_at, refused, lines = row
        cause = Cause(cause_type, cause_id)
        if refused is not None:
            return Refusal(*place, cause, refused, recorded_at)
        entries = tuple(self._entry(place[0], account_id, sequence) for account_id, sequence in orjson.loads(lines))
        return RecordedTransfer(*place, cause, entries, recorded_at, payment_id, description)

    def _entry(self, tenant_id: str, account_id: str, sequence: int) -> Entry:
        sql = f"SELECT {_ENTRY} FROM entries WHERE tenant_id = ? AND account_id = ? AND sequence = ?"
        row = self._reader.execute(sql, (tenant_id, account_id, sequence)).fetchone()
        if row is None:
            raise LedgerDamaged(f"the entry {sequence} of account {account_id} is missing")
        return _entry_of(row)

    def _greatest(self, tenant_id: str) -> str:
        sql = "SELECT coalesce(max(id), '') FROM transfers WHERE tenant_id = ?"
        stored: str = self._reader.execute(sql, (tenant_id,)).fetchone()[0]
        pending = (place for part in (self._known, self._known_in_flight) for place in part)
        return max([stored, *(id for owner, id in pending if owner == tenant_id)])

    def close(self) -> None:
        """Remove all accounts and transfers from memory: every method raises Closed from now on. The journal is closed
        before."""
        self.dropped()

    # Calls of the journal

    def drain(self) -> list[Statement]:
        statements: list[Statement] = [
            (sql, rows, True)
            for sql, rows in (
                (_INSERT_ACCOUNT, self._accounts),
                (_INSERT_TRANSFER, self._transfers),
                (_INSERT_ENTRY, self._entries),
            )
            if rows
        ]
        self._accounts, self._transfers, self._entries = [], [], []
        self._known_in_flight, self._known = self._known, {}
        self._moved_in_flight, self._moved = self._moved, set()
        return statements

    def settled(self) -> None:
        self._known_in_flight = {}
        self._moved_in_flight = set()
        self._trim()

    def dropped(self) -> None:
        self._accounts, self._transfers, self._entries = [], [], []
        self._known, self._known_in_flight = {}, {}
        self._moved, self._moved_in_flight = set(), set()
        self._heads.clear()
        self._recent.clear()


def _sum(low: int, carry: int) -> int:
    """Return a sum of debits or credits. It may be larger than a column of 64 bits, so it has two."""
    return low + (carry << _CARRY_BITS)


def _entry_of(row: tuple[Any, ...]) -> Entry:
    *fields, low_balance, recorded_at, carry = row
    fields += (_sum(low_balance, carry), recorded_at)
    return Entry(*fields)


def _moved(head: _Head | None, leg: Leg, recorded_at: str) -> _Head:
    if head is None:
        head = _Head(leg.currency, 0, 0, 0, recorded_at)
    else:
        check_currency(leg.account_id, head.currency, leg.currency)
    debits, credits = head.debits, head.credits
    if leg.direction == "debit":
        debits += leg.amount
    else:
        credits += leg.amount
    check_balance(leg.account_id, credits - debits)
    return _Head(head.currency, head.sequence + 1, debits, credits, recorded_at)


def _transfer_row(recorded: RecordedTransfer) -> Row:
    return (
        recorded.tenant_id,
        recorded.id,
        recorded.cause.type,
        recorded.cause.id,
        recorded.payment_id,
        recorded.description,
        recorded.recorded_at,
        None,
        orjson.dumps([(entry.account_id, entry.sequence) for entry in recorded.entries]).decode(),
    )


def _legs(recorded: RecordedTransfer) -> tuple[Leg, ...]:
    return tuple(Leg(entry.account_id, entry.direction, entry.amount, entry.currency) for entry in recorded.entries)
