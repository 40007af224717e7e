"""`lastro statements rebuild` on the embedded store."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli.main import app
from functions.statements._lines import in_period
from shared.adapters.sqlite.store import SqliteStore
from shared.core.clock import SystemClock
from shared.core.settings import Settings
from shared.ports.documents import Commit, Query
from shared.records.catalogue import COLLECTIONS
from shared.records.statement_lines import LINES
from tests.cli.started import environment
from tests.harness import Harness


@pytest.fixture
async def data_dir(tmp_path: Path) -> Path:
    """Return a data directory with two accounts, of which one has lost its statement."""
    harness = await Harness.on_disk(tmp_path)
    await harness.tenant()
    await harness.account(100)
    account = await harness.account(100)
    [line] = await harness.documents.find(LINES, "acme", in_period(account["id"], None, None))
    await harness.documents.commit(Commit("acme", deletes=[(LINES, line["id"])]))
    await harness.documents.durable()
    await harness.close()
    return tmp_path


def rebuild(data_dir: Path, *options: str) -> Result:
    """Run the command."""
    runner = CliRunner(env=environment())
    return runner.invoke(app, ["statements", "rebuild", "--data-dir", str(data_dir), *options])


def test_the_statements_are_rebuilt(data_dir: Path) -> None:
    """`--dry-run` names the number of differences and ends with 1; the command stores the lost lines; then nothing
    differs."""
    tried = rebuild(data_dir, "--dry-run")
    assert (tried.exit_code, tried.stdout) == (1, "acme: 2 lines, 1 added, 0 changed, 0 removed\n")
    assert "differ from the ledger in 1 lines" in str(tried.exception)
    done = rebuild(data_dir, "--json", "--tenant", "acme")
    assert done.exit_code == 0, done.output
    numbers = {"tenant_id": "acme", "lines": 2, "added": 1, "changed": 0, "removed": 0}
    assert json.loads(done.stdout) == {"tenants": [numbers], "dry_run": False}
    again = rebuild(data_dir)
    assert (again.exit_code, again.stderr) == (0, "the statements are those of the ledger\n")
    assert asyncio.run(count_lines(data_dir)) == 2


async def count_lines(data_dir: Path) -> int:
    """Return the number of lines of all statements."""
    settings = Settings(data_dir=str(data_dir))
    async with SqliteStore(data_dir, collections=COLLECTIONS, settings=settings, clock=SystemClock()) as store:
        return len(await store.documents.find(LINES, "acme", Query()))


def test_a_data_directory_that_does_not_exist_is_named(tmp_path: Path) -> None:
    """Without a data directory the command ends with 1 and names it."""
    result = rebuild(tmp_path / "none")
    assert "there is no data directory" in str(result.exception)
