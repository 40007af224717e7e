"""The keyspace and tables of the ledger, as a list of versions. `lastro migrate` upgrades a keyspace to the newest.

A process that uses the ledger does not change tables. It does not start when the tables of the keyspace are older than
its code, or so new that its code cannot use them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from shared.adapters.cassandra.driver import Connection
from shared.adapters.cassandra.url import CassandraUrl
from shared.core.settings import InvalidSettings

_VERSION_TABLE: Final = """
CREATE TABLE IF NOT EXISTS {keyspace}.schema_version (
    component text PRIMARY KEY,
    version int,
    oldest int,
    datacenter text
)"""
_FIND_KEYSPACE: Final = "SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = ?"
_FIND_TABLE: Final = (
    "SELECT table_name FROM system_schema.tables WHERE keyspace_name = ? AND table_name = 'schema_version'"
)
_GET_VERSION: Final = "SELECT version, oldest, datacenter FROM {keyspace}.schema_version WHERE component = ?"
_SET_VERSION: Final = (
    "INSERT INTO {keyspace}.schema_version (component, version, oldest, datacenter) VALUES (?, ?, ?, ?)"
)
_COMPONENT: Final = "ledger"


class Migration(NamedTuple):
    """One version of the tables. Each statement may be executed again; `{keyspace}` is replaced by the keyspace."""

    version: int
    title: str
    statements: tuple[str, ...]


_LEDGER: Final = Migration(
    1,
    "transfers, their journals and positions",
    (
        # A transfer, or the refusal of its id. Written once, by a lightweight transaction.
        """
CREATE TABLE IF NOT EXISTS {keyspace}.transfers (
    tenant_id text,
    transfer_id text,
    cause_type text,
    cause_id text,
    legs frozen<list<frozen<tuple<text, text, bigint, text>>>>,
    payment_id text,
    description text,
    refused text,
    recorded_at text,
    PRIMARY KEY ((tenant_id, transfer_id))
)""",
        # The lines of an account, in buckets of 10,000, with the head of the bucket. They are written only by
        # lightweight transactions: a plain write to the same rows can be lost.
        """
CREATE TABLE IF NOT EXISTS {keyspace}.journal (
    tenant_id text,
    account_id text,
    bucket bigint,
    sequence bigint,
    currency text static,
    head_sequence bigint static,
    head_balance bigint static,
    head_recorded_at text static,
    debits varint static,
    credits varint static,
    pending frozen<list<frozen<tuple<text, int, bigint, bigint, text>>>> static,
    transfer_id text,
    leg int,
    direction text,
    amount bigint,
    balance_after bigint,
    recorded_at text,
    PRIMARY KEY ((tenant_id, account_id, bucket), sequence)
)""",
        # The position of each leg in its journal. The same row may be written any number of times.
        """
CREATE TABLE IF NOT EXISTS {keyspace}.positions (
    tenant_id text,
    transfer_id text,
    leg int,
    account_id text,
    sequence bigint,
    balance_after bigint,
    recorded_at text,
    PRIMARY KEY ((tenant_id, transfer_id), leg)
)""",
        # The transfers of a day, listed before they are claimed: some of them may never have been claimed.
        """
CREATE TABLE IF NOT EXISTS {keyspace}.days (
    tenant_id text,
    day text,
    shard int,
    recorded_at text,
    transfer_id text,
    PRIMARY KEY ((tenant_id, day, shard), recorded_at, transfer_id)
) WITH CLUSTERING ORDER BY (recorded_at DESC, transfer_id DESC)""",
        # The ledger accounts of a tenant, with a hint for the newest bucket.
        """
CREATE TABLE IF NOT EXISTS {keyspace}.accounts (
    tenant_id text,
    shard int,
    account_id text,
    bucket bigint,
    PRIMARY KEY ((tenant_id, shard), account_id)
)""",
    ),
)
_MIGRATIONS: Final = (_LEDGER,)
VERSION: Final = _MIGRATIONS[-1].version
"""The version of the tables that this code uses."""
OLDEST: Final = 1
"""The oldest version whose code can use the tables of VERSION, so that its functions keep running during an update."""


def migrations() -> Sequence[Migration]:
    """Return all versions of the tables, oldest first."""
    return _MIGRATIONS


async def migrate(url: CassandraUrl, done: Callable[[str], None], *, dry_run: bool = False) -> int:
    """Create the keyspace and upgrade its tables to this code's version. Return the number of steps.

    `done` is called with a description of each step after it; with `dry_run` nothing is changed. It can be repeated at
    any time, but must not run twice concurrently. Raises Unavailable, and InvalidSettings when the tables are newer
    than this code.
    """
    connection = await Connection.open(url)
    try:
        steps = 0
        datacenter = _deciding(connection, url)
        if not await connection.rows(_FIND_KEYSPACE, (url.keyspace,)):
            if not dry_run:
                await connection.define(_create_keyspace(url, datacenter))
            done(f"keyspace {url.keyspace}, {url.replicas} replicas in {datacenter}")
            steps += 1
        stored = await _stored(connection, url)
        if stored.version > VERSION:
            raise InvalidSettings(_newer(url, stored))
        if stored.version:
            _require_same(stored, url, datacenter)
        for migration in _MIGRATIONS:
            if migration.version > stored.version:
                if not dry_run:
                    await _execute(connection, migration, datacenter)
                done(f"version {migration.version} of the ledger's tables: {migration.title}")
                steps += 1
        return steps
    finally:
        await connection.close()


async def _execute(connection: Connection, migration: Migration, datacenter: str) -> None:
    for statement in (_VERSION_TABLE, *migration.statements):
        await connection.define(statement)
    await connection.rows(_SET_VERSION, (_COMPONENT, migration.version, min(OLDEST, migration.version), datacenter))


async def check_version(connection: Connection, url: CassandraUrl) -> None:
    """Raise InvalidSettings, with one line that has the remedy, unless this code can use the tables."""
    stored = await _stored(connection, url)
    if stored.version < VERSION:
        raise InvalidSettings(
            f"the Cassandra keyspace {url.keyspace} does not have version {VERSION} of the ledger's tables: "
            f"execute `lastro migrate` with the same LASTRO_LEDGER"
        )
    if stored.oldest > VERSION:
        raise InvalidSettings(_newer(url, stored))
    _require_same(stored, url, _deciding(connection, url))


async def check_answer(connection: Connection) -> None:
    """Read one row as the ledger does. Raises Unavailable."""
    await connection.rows(_GET_VERSION, (_COMPONENT,))


def _create_keyspace(url: CassandraUrl, datacenter: str) -> str:
    # Names that CassandraUrl has checked; the statement takes no values.
    replication = f"{{'class': 'NetworkTopologyStrategy', '{datacenter}': {url.replicas}}}"
    return f"CREATE KEYSPACE IF NOT EXISTS {url.keyspace} WITH replication = {replication}"


class _Stored(NamedTuple):
    """The version of the tables, the oldest version whose code can use them, and the deciding data centre."""

    version: int
    oldest: int
    datacenter: str


async def _stored(connection: Connection, url: CassandraUrl) -> _Stored:
    """Return the version of the tables. Version 0 means that there are no tables."""
    if not await connection.rows(_FIND_TABLE, (url.keyspace,)):
        return _Stored(0, 0, "")
    rows = await connection.rows(_GET_VERSION, (_COMPONENT,))
    return _Stored(**rows[0]) if rows else _Stored(0, 0, "")


def _deciding(connection: Connection, url: CassandraUrl) -> str:
    """Return the data centre whose replicas decide. Raises InvalidSettings where the URL has to name it."""
    if url.datacenter is not None:
        return url.datacenter
    known = connection.datacenters()
    if len(known) > 1:
        raise InvalidSettings(f"Cassandra has the data centres {', '.join(known)}: name one by ?dc= in LASTRO_LEDGER")
    return known[0]


def _require_same(stored: _Stored, url: CassandraUrl, datacenter: str) -> None:
    # LOCAL_SERIAL decides within one data centre: processes that use different ones would write a leg twice.
    if stored.datacenter != datacenter:
        raise InvalidSettings(
            f"the ledger in the Cassandra keyspace {url.keyspace} is decided in the data centre {stored.datacenter}, "
            f"and not in {datacenter}: correct ?dc= in LASTRO_LEDGER"
        )


def _newer(url: CassandraUrl, stored: _Stored) -> str:
    return (
        f"the ledger's tables in the Cassandra keyspace {url.keyspace} have version {stored.version}, and this version "
        f"of Lastro works with version {VERSION}: use the newer Lastro"
    )
