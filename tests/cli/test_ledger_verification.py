"""`lastro ledger verify` on the embedded store."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli.main import app
from events.ledger import DaySealed
from shared.adapters.sqlite.store import SqliteStore
from shared.core.clock import SystemClock
from shared.core.settings import Settings
from shared.ports.documents import Commit
from shared.records.catalogue import COLLECTIONS
from shared.records.tenants import TENANTS, TenantDocument
from tests.cli.conftest import Lastro
from tests.cli.started import Started, environment
from tests.functions.operations.test_seals import at, move, tick
from tests.harness import Harness
from tests.ports.ledger_suite import legs, recorded, transfer


def tenant(id: str) -> TenantDocument:
    """Return a tenant's document."""
    return {
        "id": id,
        "tenant_id": id,
        "version": 1,
        "name": id,
        "status": "active",
        "limits": {"requests_per_second": None},
        "user_review": False,
        "created_at": "2026-01-01T00:00:00.000Z",
    }


@pytest.fixture
async def data_dir(tmp_path: Path) -> Path:
    """Return a data directory with the ledgers of two tenants."""
    settings = Settings(data_dir=str(tmp_path))
    async with SqliteStore(tmp_path, collections=COLLECTIONS, settings=settings, clock=SystemClock()) as store:
        for id in ("ten_1", "ten_2"):
            await store.documents.commit(Commit(id, inserts=[(TENANTS, {**tenant(id)})]))
            for number in range(3):
                await recorded(store.ledger, transfer(f"t{number}", *legs("a", "b", 5), tenant_id=id))
    return tmp_path


def verify(data_dir: Path, *options: str) -> Result:
    """Run the command."""
    return CliRunner(env=environment()).invoke(app, ["ledger", "verify", "--data-dir", str(data_dir), *options])


def damage(data_dir: Path, *statements: str) -> None:
    """Change the store's file, whose triggers refuse any change of the ledger."""
    with sqlite3.connect(data_dir / "lastro.db") as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            connection.execute(statement)
    connection.close()


def test_a_ledger_without_difference(data_dir: Path) -> None:
    """Every tenant's ledger is verified, or one tenant's, and the command ends with 0."""
    result = verify(data_dir)
    assert (result.exit_code, result.stderr) == (0, "the ledger has no difference\n")
    assert result.stdout == "ten_1: 2 accounts, 6 entries, no day sealed\nten_2: 2 accounts, 6 entries, no day sealed\n"
    one = verify(data_dir, "--tenant", "ten_2", "--json")
    assert json.loads(one.stdout) == {
        "tenants": [
            {
                "tenant_id": "ten_2",
                "accounts": 2,
                "entries": 6,
                "seals": {"days": 0, "entries": 0, "last_day": None, "last_digest": None},
            }
        ],
        "difference": None,
    }


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        (
            "UPDATE entries SET amount = 6 WHERE tenant_id = 'ten_2' AND account_id = 'a' AND sequence = 2",
            "ten_2, account a, entry 2: the balance is -10, and not -11",
        ),
        (
            "DELETE FROM entries WHERE tenant_id = 'ten_2' AND account_id = 'a' AND sequence = 2",
            "ten_2, account a, entry 2: the number is 3, and not 2",
        ),
        (
            "DELETE FROM entries WHERE tenant_id = 'ten_2' AND account_id = 'b' AND sequence = 2",
            "ten_2, transfer t1: the entry 2 of account b is missing",
        ),
        (
            "DELETE FROM transfers WHERE tenant_id = 'ten_2' AND id = 't1'",
            "ten_2, transfer t1: it is not recorded, and account a has an entry of it",
        ),
    ],
)
def test_the_first_difference_is_an_error(data_dir: Path, statement: str, said: str) -> None:
    """A store whose ledger was changed is an error of one line that names the difference, with exit code 1."""
    damage(data_dir, statement)
    result = verify(data_dir)
    assert (result.exit_code, str(result.exception)) == (1, said)
    assert result.stdout == "ten_1: 2 accounts, 6 entries, no day sealed\n"
    assert json.loads(verify(data_dir, "--json").stdout)["difference"] == said


async def sealed(data_dir: Path) -> str:
    """Seal a day with three transfers of the tenant `acme`, and return its digest."""
    harness = await Harness.on_disk(data_dir)
    await harness.tenant()
    for number in range(3):
        await move(harness, f"t{number}", at(1))
    harness.clock.advance(timedelta(days=1, hours=1))
    await tick(harness)
    [fact] = harness.events_of(DaySealed)
    await harness.close()
    digest: str = fact.digest
    return digest


async def test_one_changed_byte_of_the_file_is_named(tmp_path: Path) -> None:
    """A sealed ledger is verified with the digest that was kept; after one byte of a description was changed in the
    file, the row is named."""
    digest = await sealed(tmp_path)
    options = ("--tenant", "acme", "--seal", f"2026-01-01={digest}")
    result = await asyncio.to_thread(verify, tmp_path, *options)
    assert (result.exit_code, result.stdout) == (
        0,
        f"acme: 2 accounts, 6 entries, sealed to 2026-01-01: {digest}\n",
    )
    file = tmp_path / "lastro.db"
    content = file.read_bytes()
    assert content.count(b"about t1") == 1
    file.write_bytes(content.replace(b"about t1", b"about T1"))
    result = await asyncio.to_thread(verify, tmp_path, *options)
    said = "acme, account a, entry 2: it differs from the seal of 2026-01-01 (leg 0 of transfer t1)"
    assert (result.exit_code, str(result.exception)) == (1, said)


def test_a_digest_is_given_with_its_day_and_tenant(data_dir: Path) -> None:
    """A digest of another form, or without a tenant, is an error of one line."""
    for text in ("2026-01-01", "2026-01-01=abc", f"01/01/2026={'0' * 64}"):
        assert f"--seal {text}: write DAY=DIGEST" in str(verify(data_dir, "--seal", text).exception)
    said = str(verify(data_dir, "--seal", f"2026-01-01={'0' * 64}").exception)
    assert said == "--seal is the digest of one tenant's day: name the tenant with --tenant"


def test_a_store_that_is_used_or_missing_is_named(lastro: Lastro, platform: Started, tmp_path: Path) -> None:
    """While a platform uses the data directory, and without one, the command ends with a line that says so."""
    used = lastro("ledger", "verify")
    assert used.exit_code == 1
    assert str(platform.data_dir) in str(used.exception)
    missing = verify(tmp_path / "missing")
    assert (missing.exit_code, "there is no data directory" in str(missing.exception)) == (1, True)
    assert not (tmp_path / "missing").exists()
