"""The connection, the tables' versions and the requests of an append, on the real Cassandra."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import replace
from random import Random
from uuid import uuid4

import pytest
from typer.testing import CliRunner

from cli.main import app
from shared.adapters.cassandra.cql import CqlTables
from shared.adapters.cassandra.driver import REQUEST_SECONDS, Connection, Kind
from shared.adapters.cassandra.ledger import CassandraLedger
from shared.adapters.cassandra.schema import VERSION, check_version, migrate, migrations
from shared.adapters.cassandra.store import CassandraStore
from shared.adapters.cassandra.tables import OutcomeUnknown, Place
from shared.adapters.cassandra.url import CassandraUrl
from shared.core.settings import InvalidSettings
from shared.ports.documents import Unavailable
from shared.ports.lifecycle import NotOpened
from tests.ports.ledger_suite import legs, recorded, transfer
from tests.shared.adapters.cassandra.failing_processes import (
    check_journals,
    ledger_on,
    no_pause,
    run_process,
    some_transfers,
)


async def test_an_append_sends_twelve_requests(ledger_url: str) -> None:
    """An append of two legs to known accounts, which nothing else writes to, sends 12 requests to the servers."""
    url, tenant_id = CassandraUrl.parse(ledger_url), f"{uuid4()}"
    connection = await Connection.open(url)
    try:
        await check_version(connection, url)
        ledger = CassandraLedger(CqlTables(connection), no_pause)
        await recorded(ledger, transfer("t1", *legs("a", "b", 5), tenant_id=tenant_id))
        before = connection.requests
        await recorded(ledger, transfer("t2", *legs("a", "b", 5), tenant_id=tenant_id))
        assert connection.requests - before == 12
    finally:
        await connection.close()


async def test_nothing_is_logged_as_a_warning(ledger_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """Driver and server log no warning when the ledger is opened, used and closed."""
    tenant_id = f"{uuid4()}"
    async with CassandraStore(ledger_url) as ledger:
        await recorded(ledger, transfer("t1", *legs("a", "b", 5), tenant_id=tenant_id))
        await ledger.turnover(tenant_id)
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("seed", range(4))
async def test_processes_that_fail_and_end_record_each_leg_once(ledger_url: str, seed: int) -> None:
    """Calls fail, with unknown or late outcomes, and processes end: each leg has one line."""
    random, url = Random(seed), CassandraUrl.parse(ledger_url)
    transfers = some_transfers(random, f"{uuid4()}")
    connection = await Connection.open(url)
    try:
        tables = CqlTables(connection)
        await asyncio.gather(*(run_process(tables, transfers, random) for _ in range(3)))
        last = ledger_on(tables, bucket_lines=5)
        await asyncio.gather(*(recorded(last, each) for each in transfers))
        await check_journals(last, transfers)
    finally:
        await connection.close()


async def test_journals_continue_in_the_next_bucket(ledger_url: str) -> None:
    """Entries of several buckets are read as one list, and appends by another process go on in the newest bucket."""
    url, tenant_id = CassandraUrl.parse(ledger_url), f"{uuid4()}"
    connection = await Connection.open(url)
    try:
        await check_version(connection, url)
        ledgers = [CassandraLedger(CqlTables(connection), no_pause, bucket_lines=3) for _ in range(7)]
        for number, process in enumerate(ledgers):
            await recorded(process, transfer(f"t{number}", *legs("a", "b", 5), tenant_id=tenant_id))
        ledger = ledgers[0]
        assert await CqlTables(connection).bucket(Place(tenant_id, "a")) == 2
        assert [entry.sequence for entry in await ledger.entries(tenant_id, "a", 0, 100)] == [1, 2, 3, 4, 5, 6, 7]
        assert [entry.sequence for entry in await ledger.entries(tenant_id, "a", 1, 4)] == [2, 3, 4, 5]
        assert await ledger.balance(tenant_id, "b") == 35
    finally:
        await connection.close()


async def test_the_accounts_of_a_tenant_are_read_in_pages(cassandra_ledger: CassandraStore) -> None:
    """A trial balance has every account, also those that need several batches of requests."""
    tenant_id = f"{uuid4()}"
    accounts = [f"p{number:02}" for number in range(40)]
    transfers = (transfer(f"t-{id}", *legs(id, "merchant", 1), tenant_id=tenant_id) for id in accounts)
    await asyncio.gather(*(recorded(cassandra_ledger, each) for each in transfers))
    assert [line.account_id for line in await cassandra_ledger.turnover(tenant_id)] == ["merchant", *accounts]


async def test_a_keyspace_without_tables_is_refused(cassandra_url: str) -> None:
    """The ledger does not open in a keyspace without its tables; the one line of the error says what to do."""
    missing = cassandra_url.replace("/lastro", "/missing")
    with pytest.raises(NotOpened, match="execute `lastro migrate`") as refusal:
        async with CassandraStore(missing):
            raise AssertionError("opened")
    assert "\n" not in str(refusal.value)


async def test_migrating_again_changes_nothing(cassandra_url: str) -> None:
    """A dry run prints the steps of the first migration, the second one has none.

    Newer tables are used if this version's code works with them, and are never migrated.
    """
    url = replace(CassandraUrl.parse(cassandra_url), keyspace=f"k{uuid4().hex[:20]}")
    steps: list[str] = []
    assert await migrate(url, steps.append, dry_run=True) == len(migrations()) + 1
    with pytest.raises(NotOpened, match="execute `lastro migrate`"):
        async with CassandraStore(cassandra_url.replace("/lastro", f"/{url.keyspace}")):
            raise AssertionError("opened")
    planned, steps = steps, []
    assert await migrate(url, steps.append) == len(planned)
    assert steps == planned
    assert steps[0] == f"keyspace {url.keyspace}, 1 replicas in dc1"
    assert await migrate(url, steps.append) == 0
    connection = await Connection.open(url)
    try:
        await check_version(connection, url)
        set_version = "UPDATE {keyspace}.schema_version SET version = ?, oldest = ? WHERE component = 'ledger'"
        await connection.rows(set_version, (VERSION + 1, VERSION))
        await check_version(connection, url)
        await connection.rows(set_version, (VERSION + 1, VERSION + 1))
        with pytest.raises(InvalidSettings, match="use the newer Lastro"):
            await check_version(connection, url)
        with pytest.raises(InvalidSettings, match="use the newer Lastro"):
            await migrate(url, steps.append)
        await connection.define(f"DROP KEYSPACE {url.keyspace}")
    finally:
        await connection.close()


async def test_one_data_centre_decides(ledger_url: str) -> None:
    """A data centre that the cluster does not have, and one that the ledger was not created in, are refused."""
    url = CassandraUrl.parse(ledger_url)
    with pytest.raises(NotOpened, match="in the data centre dc7 cannot be reached"):
        async with CassandraStore(ledger_url.replace("dc=dc1", "dc=dc7"), waits=False):
            raise AssertionError("opened")
    connection = await Connection.open(url)
    try:
        elsewhere = "UPDATE {keyspace}.schema_version SET datacenter = ? WHERE component = 'ledger'"
        await connection.rows(elsewhere, ("dc2",))
        with pytest.raises(InvalidSettings, match="decided in the data centre dc2, and not in dc1"):
            await check_version(connection, url)
        await connection.rows(elsewhere, ("dc1",))
        await check_version(connection, url)
    finally:
        await connection.close()


async def test_a_refused_statement_is_not_unknown(ledger_url: str) -> None:
    """A conditional statement that the server refuses was not applied: the error says so and is not OutcomeUnknown."""
    connection = await Connection.open(CassandraUrl.parse(ledger_url))
    try:
        with pytest.raises(Unavailable, match="refuses a statement") as refusal:
            await connection.define("SELECT nothing FROM {keyspace}.nowhere")
        assert not isinstance(refusal.value, OutcomeUnknown)
        with pytest.raises(Unavailable, match="did not prepare"):
            await connection.rows("SELECT nothing FROM {keyspace}.nowhere", (), Kind.CONDITIONAL)
    finally:
        await connection.close()


async def test_a_server_that_is_not_there_is_named() -> None:
    """A connection to an address on which nothing listens fails with a line that names the address."""
    with pytest.raises(Unavailable, match=r"Cassandra at 127\.0\.0\.1:1/lastro cannot be reached"):
        await Connection.open(CassandraUrl.parse("cassandra://127.0.0.1:1/lastro"))
    assert REQUEST_SECONDS > 0


def test_the_command_migrates_the_ledger(cassandra_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`lastro migrate` prints each step and a summary, and refuses a wrong or dead address in one line."""
    keyspace = f"k{uuid4().hex[:20]}"
    monkeypatch.delenv("LASTRO_DOCUMENTS", raising=False)
    monkeypatch.setenv("LASTRO_LEDGER", cassandra_url.replace("/lastro", f"/{keyspace}"))
    run = CliRunner()
    planned = run.invoke(app, ["migrate", "--dry-run"])
    assert planned.stderr == f"2 steps are missing in the keyspace {keyspace}; without --dry-run they are done\n"
    done = run.invoke(app, ["migrate", "--json"])
    assert json.loads(done.stdout) == {"steps": planned.stdout.splitlines()}
    assert run.invoke(app, ["migrate"]).stderr == f"the keyspace {keyspace} has everything\n"
    monkeypatch.setenv("LASTRO_LEDGER", "cassandra://127.0.0.1:1/lastro")
    assert "127.0.0.1:1/lastro cannot be reached" in str(run.invoke(app, ["migrate"]).exception)
    monkeypatch.setenv("LASTRO_LEDGER", "cassandra://host/Lastro")
    assert "keyspace" in str(run.invoke(app, ["migrate"]).exception)
    monkeypatch.setenv("LASTRO_LEDGER", "postgres://host/lastro")
    assert "only Cassandra is migrated" in str(run.invoke(app, ["migrate"]).exception)
