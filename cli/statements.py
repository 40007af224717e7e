"""`lastro statements`: statement lines are rebuilt from the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from cli.errors import CliError
from cli.options import DEFAULT_DATA_DIR, DataDir, Json
from cli.output import print_json, say
from cli.stores import open_stores, store_settings, tenant_ids

if TYPE_CHECKING:
    from functions.statements._rebuild import Rebuilt
    from shared.core.settings import Settings
    from shared.ports.documents import Documents

_ACCOUNTS: Final = 100
app = typer.Typer(no_args_is_help=True, help="Statements.")


@app.callback()
def _statements() -> None:
    """Statements: their lines are rebuilt from the ledger."""


@app.command()
def rebuild(
    *,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    tenant: Annotated[str | None, typer.Option("--tenant", help="The tenant; all tenants when left out.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Compare only; ends with 1 at a difference.")] = False,
    as_json: Json = False,
) -> None:
    """Rebuild the statement lines of every account from the ledger, to the same bytes.

    Missing lines are added, lines with other values are replaced, and lines that the ledger does not have are removed.
    It opens the stores of LASTRO_DOCUMENTS and LASTRO_LEDGER itself. Stores on servers can be in use meanwhile. Only
    one process can use the embedded store, so stop the platform first. The command can be repeated.
    """
    found: list[dict[str, Any]] = []
    differences = 0

    def rebuilt(tenant_id: str, result: Rebuilt) -> None:
        nonlocal differences
        differences += result.added + result.changed + result.removed
        found.append({"tenant_id": tenant_id, **result._asdict()})
        if not as_json:
            print(
                f"{tenant_id}: {result.lines} lines, {result.added} added, {result.changed} changed, "
                f"{result.removed} removed"
            )

    asyncio.run(_rebuild(store_settings(data_dir), tenant, rebuilt, dry_run=dry_run))
    if as_json:
        print_json({"tenants": found, "dry_run": dry_run})
    elif not differences:
        say("the statements are those of the ledger")
    if dry_run and differences:
        raise CliError(f"the statements differ from the ledger in {differences} lines")


async def _rebuild(
    settings: Settings, tenant_id: str | None, rebuilt: Callable[[str, Rebuilt], None], *, dry_run: bool
) -> None:
    """Rebuild the statements of one tenant, or of each; `rebuilt` is called after each one."""
    from functions.statements._rebuild import Rebuilt, rebuild_statement
    from shared.ports.documents import Unavailable

    async with open_stores(settings) as (documents, ledger):
        tenants = [tenant_id] if tenant_id is not None else [each async for each in tenant_ids(documents)]
        for each in tenants:
            total = Rebuilt()
            try:
                async for account_id in _account_ids(documents, each):
                    total = total.plus(await rebuild_statement(documents, ledger, each, account_id, dry_run=dry_run))
            except Unavailable as error:
                raise CliError(f"{each}: {error}") from None
            rebuilt(each, total)


async def _account_ids(documents: Documents, tenant_id: str) -> AsyncIterator[str]:
    from shared.ports.documents import Query
    from shared.records.accounts import ACCOUNTS

    after: str | None = None
    while page := await documents.find(ACCOUNTS, tenant_id, Query(after=after, limit=_ACCOUNTS)):
        for account in page:
            yield account["id"]
        after = page[-1]["id"]
