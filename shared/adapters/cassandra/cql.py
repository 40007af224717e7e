"""The tables of the ledger in CQL: every statement, and the meaning of its rows."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final
from zlib import crc32

from shared.adapters.cassandra.driver import Connection, Kind, Row
from shared.adapters.cassandra.tables import Claim, ClaimedTransfer, Head, Line, Place, Position
from shared.ports.ledger import Cause, Leg, Refusal, Transfer

_SHARDS: Final = 8
"""The numbers of partitions of a tenant's accounts, and of a tenant's day. They must never change, because they
determine the partition of a row."""
_PAGE: Final = 1000
_APPLIED: Final = "[applied]"

# The connection replaces {keyspace}. With `USE`, a server could execute a prepared statement in another keyspace.
_CLAIM: Final = (
    "INSERT INTO {keyspace}.transfers (tenant_id, transfer_id, cause_type, cause_id, legs, payment_id, "
    "description, refused, recorded_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) IF NOT EXISTS"
)
_CLAIMED: Final = (
    "SELECT tenant_id, transfer_id, cause_type, cause_id, legs, payment_id, description, refused, recorded_at "
    "FROM {keyspace}.transfers WHERE tenant_id = ? AND transfer_id = ?"
)
_OPEN_BUCKET: Final = (
    "INSERT INTO {keyspace}.journal (tenant_id, account_id, bucket, currency, head_sequence, head_recorded_at, debits, "
    "credits, pending, head_balance) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) IF NOT EXISTS"
)
_HEAD: Final = (
    "SELECT DISTINCT currency, head_sequence, head_recorded_at, debits, credits, pending FROM {keyspace}.journal "
    "WHERE tenant_id = ? AND account_id = ? AND bucket = ?"
)
_MOVE_HEAD: Final = (
    "UPDATE {keyspace}.journal SET head_sequence = ?, head_balance = ?, head_recorded_at = ?, "
    "debits = ?, credits = ?, pending = ? WHERE tenant_id = ? AND account_id = ? AND bucket = ? "
    "IF head_sequence = ? AND head_balance = ?"
)
_ADD_LINE: Final = (
    "INSERT INTO {keyspace}.journal (tenant_id, account_id, bucket, sequence, transfer_id, leg, "
    "direction, amount, balance_after, recorded_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_LINES: Final = (
    "SELECT transfer_id, leg, direction, amount, currency, sequence, balance_after, recorded_at "
    "FROM {keyspace}.journal WHERE tenant_id = ? AND account_id = ? AND bucket = ? AND sequence > ? "
    "ORDER BY sequence LIMIT ?"
)
_PUT_POSITION: Final = (
    "INSERT INTO {keyspace}.positions (tenant_id, transfer_id, leg, account_id, sequence, "
    "balance_after, recorded_at) VALUES (?, ?, ?, ?, ?, ?, ?)"
)
_POSITIONS: Final = (
    "SELECT transfer_id, leg, account_id, sequence, balance_after, recorded_at "
    "FROM {keyspace}.positions WHERE tenant_id = ? AND transfer_id = ?"
)
_PUT_DAY: Final = "INSERT INTO {keyspace}.days (tenant_id, day, shard, recorded_at, transfer_id) VALUES (?, ?, ?, ?, ?)"
_NEWEST_OF_DAY: Final = (
    "SELECT recorded_at, transfer_id FROM {keyspace}.days WHERE tenant_id = ? AND day = ? AND shard = ? LIMIT ?"
)
_OLDER_OF_DAY: Final = (
    "SELECT recorded_at, transfer_id FROM {keyspace}.days WHERE tenant_id = ? AND day = ? "
    "AND shard = ? AND (recorded_at, transfer_id) < (?, ?) LIMIT ?"
)
_PUT_ACCOUNT: Final = "INSERT INTO {keyspace}.accounts (tenant_id, shard, account_id) VALUES (?, ?, ?)"
_PUT_BUCKET: Final = "INSERT INTO {keyspace}.accounts (tenant_id, shard, account_id, bucket) VALUES (?, ?, ?, ?)"
_BUCKET: Final = "SELECT bucket FROM {keyspace}.accounts WHERE tenant_id = ? AND shard = ? AND account_id = ?"
_ACCOUNTS: Final = (
    "SELECT account_id, bucket FROM {keyspace}.accounts WHERE tenant_id = ? AND shard = ? AND account_id > ? LIMIT ?"
)


class CqlTables:
    """The tables on Cassandra."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def claim(self, claim: Claim) -> Claim | None:
        if isinstance(claim, Refusal):
            cause, legs, payment_id, description, refused = claim.cause, None, None, None, claim.reason
            key = (claim.tenant_id, claim.id)
        else:
            transfer = claim.transfer
            cause, payment_id, description, refused = transfer.cause, transfer.payment_id, transfer.description, None
            legs, key = list(transfer.legs), (transfer.tenant_id, transfer.id)
        values = (*key, cause.type, cause.id, legs, payment_id, description, refused, claim.recorded_at)
        row = (await self._connection.rows(_CLAIM, values, Kind.CONDITIONAL))[0]
        return None if row[_APPLIED] else _claim(row)

    async def claimed(self, tenant_id: str, transfer_id: str, *, settled: bool) -> Claim | None:
        rows = await self._connection.rows(_CLAIMED, (tenant_id, transfer_id), _reading(settled))
        return _claim(rows[0]) if rows else None

    async def open_bucket(self, head: Head) -> Head | None:
        state = (head.currency, head.sequence, head.recorded_at, head.debits, head.credits, _pending(head))
        values = (*head.place, head.bucket, *state, head.balance)
        row = (await self._connection.rows(_OPEN_BUCKET, values, Kind.CONDITIONAL))[0]
        return None if row[_APPLIED] else _head(head.place, head.bucket, row)

    async def head(self, place: Place, bucket: int, *, settled: bool) -> Head | None:
        rows = await self._connection.rows(_HEAD, (*place, bucket), _reading(settled))
        return _head(place, bucket, rows[0]) if rows else None

    async def append_lines(self, before: Head, after: Head, lines: Sequence[Line]) -> bool:
        partition = (*before.place, before.bucket)
        state = (after.sequence, after.balance, after.recorded_at, after.debits, after.credits, _pending(after))
        batch: list[tuple[str, tuple[Any, ...]]] = [(_MOVE_HEAD, (*state, *partition, before.sequence, before.balance))]
        for line in lines:
            moved = (line.direction, line.amount, line.balance_after, line.recorded_at)
            batch.append((_ADD_LINE, (*partition, line.sequence, line.transfer_id, line.leg, *moved)))
        return bool((await self._connection.batch(batch))[0][_APPLIED])

    async def lines(self, place: Place, bucket: int, after_sequence: int, limit: int) -> Sequence[Line]:
        rows = await self._connection.rows(_LINES, (*place, bucket, after_sequence, limit))
        return [Line(**row) for row in rows]

    async def put_position(self, tenant_id: str, position: Position) -> None:
        transfer_id, *rest = position
        await self._connection.rows(_PUT_POSITION, (tenant_id, transfer_id, *rest))

    async def positions(self, tenant_id: str, transfer_id: str) -> Sequence[Position]:
        rows = await self._connection.rows(_POSITIONS, (tenant_id, transfer_id))
        return [Position(**row) for row in rows]

    async def put_day(self, tenant_id: str, recorded_at: str, transfer_id: str) -> None:
        values = (tenant_id, recorded_at[:10], _shard(transfer_id), recorded_at, transfer_id)
        await self._connection.rows(_PUT_DAY, values)

    async def newest_of_day(
        self, tenant_id: str, day: str, before: tuple[str, str] | None, limit: int
    ) -> Sequence[tuple[str, str]]:
        statement = _NEWEST_OF_DAY if before is None else _OLDER_OF_DAY
        pages = await asyncio.gather(
            *(
                self._connection.rows(statement, (tenant_id, day, shard, *(before or ()), limit))
                for shard in range(_SHARDS)
            )
        )
        noted = [(row["recorded_at"], row["transfer_id"]) for page in pages for row in page]
        return sorted(noted, reverse=True)[:limit]

    async def put_account(self, place: Place) -> None:
        values = (place.tenant_id, _shard(place.account_id), place.account_id)
        await self._connection.rows(_PUT_ACCOUNT, values)

    async def put_bucket(self, place: Place, bucket: int) -> None:
        values = (place.tenant_id, _shard(place.account_id), place.account_id, bucket)
        await self._connection.rows(_PUT_BUCKET, values)

    async def bucket(self, place: Place) -> int:
        values = (place.tenant_id, _shard(place.account_id), place.account_id)
        rows = await self._connection.rows(_BUCKET, values)
        return (rows[0]["bucket"] or 0) if rows else 0

    async def accounts(self, tenant_id: str) -> Sequence[tuple[Place, int]]:
        shards = await asyncio.gather(*(self._accounts_of(tenant_id, shard) for shard in range(_SHARDS)))
        return [account for shard in shards for account in shard]

    async def _accounts_of(self, tenant_id: str, shard: int) -> list[tuple[Place, int]]:
        found: list[tuple[Place, int]] = []
        last = ""
        while True:
            page = await self._connection.rows(_ACCOUNTS, (tenant_id, shard, last, _PAGE))
            found += [(Place(tenant_id, row["account_id"]), row["bucket"] or 0) for row in page]
            if len(page) < _PAGE:
                return found
            last = page[-1]["account_id"]


def _reading(settled: bool) -> Kind:
    return Kind.SETTLED if settled else Kind.PLAIN


def _shard(text: str) -> int:
    return crc32(text.encode()) % _SHARDS


def _claim(row: Row) -> Claim:
    key = (row["tenant_id"], row["transfer_id"])
    cause = Cause(row["cause_type"], row["cause_id"])
    if row["refused"] is not None:
        return Refusal(*key, cause, row["refused"], row["recorded_at"])
    legs = tuple(Leg(*leg) for leg in row["legs"] or ())
    return ClaimedTransfer(Transfer(*key, cause, legs, row["payment_id"], row["description"]), row["recorded_at"])


def _head(place: Place, bucket: int, row: Row) -> Head:
    pending = tuple(
        Position(transfer_id, leg, place.account_id, sequence, balance_after, recorded_at)
        for transfer_id, leg, sequence, balance_after, recorded_at in row["pending"] or ()
    )
    return Head(
        place,
        bucket,
        row["currency"],
        row["head_sequence"],
        row["debits"],
        row["credits"],
        row["head_recorded_at"],
        pending,
    )


def _pending(head: Head) -> list[tuple[str, int, int, int, str]]:
    return [
        (position.transfer_id, position.leg, position.sequence, position.balance_after, position.recorded_at)
        for position in head.pending
    ]
