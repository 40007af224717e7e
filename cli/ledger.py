"""`lastro ledger`: the trial balance, and the verification of all stored transfers."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from cli.client import Client
from cli.errors import CliError
from cli.options import DEFAULT_DATA_DIR, DataDir, Json, Tenant
from cli.output import console, money, print_json, say
from cli.stores import open_stores, store_settings, tenant_ids

if TYPE_CHECKING:
    from rich.table import Table

    from shared.context.ledger_seals import SealsVerified
    from shared.context.ledger_verification import Verified
    from shared.core.settings import Settings

_SEAL: Final = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})=([0-9a-fA-F]{64})")
app = typer.Typer(no_args_is_help=True, help="The ledger.")


@app.callback()
def _ledger() -> None:
    """The ledger: its trial balance and its verification."""


@app.command("trial-balance")
def trial_balance(*, data_dir: DataDir = DEFAULT_DATA_DIR, tenant: Tenant = None, as_json: Json = False) -> None:
    """Show the debits and credits of every ledger account by currency. Ends with 1 when they differ."""
    with Client.of(data_dir, tenant=tenant) as client:
        balance = client.get("/v1/ledger/trial-balance")
    if as_json:
        print_json(balance)
    else:
        out = console()
        for entry in balance["data"]:
            out.print(trial_balance_table(entry))
        if not balance["data"]:
            out.print("Nothing was posted yet.")
        out.print(f"[dim]as of {balance['as_of']}[/]")
    if not is_balanced(balance):
        raise typer.Exit(1)


@app.command()
def verify(
    *,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    tenant: Annotated[str | None, typer.Option("--tenant", help="The tenant; all tenants when left out.")] = None,
    seal: Annotated[
        list[str] | None,
        typer.Option("--seal", metavar="DAY=DIGEST", help="The digest of a day that you have kept; with --tenant."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Read the whole ledger from its store and recompute it. Ends with 1 and the first difference when there is one.

    It recomputes the balances, the legs of each transfer, and the seals of the days with the digest of each row.
    It opens the stores of LASTRO_DOCUMENTS and LASTRO_LEDGER itself. A ledger on a server can be verified while it is
    in use. Only one process can use the embedded store, so stop the platform first.
    """
    from shared.context.ledger_verification import LedgerDifference

    known = _known_seals(seal or [], tenant)
    found: list[dict[str, Any]] = []

    def verified(tenant_id: str, result: Verified, seals: SealsVerified) -> None:
        found.append({"tenant_id": tenant_id, **result._asdict(), "seals": seals._asdict()})
        if not as_json:
            sealed = "no day sealed" if seals.last_day is None else f"sealed to {seals.last_day}: {seals.last_digest}"
            print(f"{tenant_id}: {result.accounts} accounts, {result.entries} entries, {sealed}")

    difference: str | None = None
    try:
        asyncio.run(_verify(store_settings(data_dir), tenant, known, verified))
    except LedgerDifference as error:
        difference = str(error)
    if as_json:
        print_json({"tenants": found, "difference": difference})
    elif difference is None:
        say("the ledger has no difference")
    if difference is not None:
        raise CliError(difference)


def _known_seals(texts: list[str], tenant: str | None) -> dict[str, str]:
    """Return the digests by day of `--seal`. Raises CliError."""
    known: dict[str, str] = {}
    for text in texts:
        found = _SEAL.fullmatch(text)
        if found is None:
            raise CliError(f"--seal {text}: write DAY=DIGEST, such as 2026-01-31=… with 64 hexadecimal digits")
        known[found[1]] = found[2].lower()
    if known and tenant is None:
        raise CliError("--seal is the digest of one tenant's day: name the tenant with --tenant")
    return known


async def _verify(
    settings: Settings,
    tenant_id: str | None,
    known: dict[str, str],
    verified: Callable[[str, Verified, SealsVerified], None],
) -> None:
    """Verify the ledger of one tenant, or of each; `verified` is called after each one. Raises LedgerDifference."""
    from shared.context.ledger_seals import verify_seals
    from shared.context.ledger_verification import verify_ledger

    async with open_stores(settings) as (documents, ledger):

        async def verify_one(id: str) -> None:
            result = await verify_ledger(ledger, id)
            verified(id, result, await verify_seals(documents, ledger, id, known))

        if tenant_id is not None:
            await verify_one(tenant_id)
            return
        async for each in tenant_ids(documents):
            await verify_one(each)


def is_balanced(balance: dict[str, Any]) -> bool:
    """Return whether debits equal credits in every currency, in the totals and in the sums of the accounts."""
    for entry in balance["data"]:
        debits = sum(_value(account["debits"]) for account in entry["accounts"])
        credits_ = sum(_value(account["credits"]) for account in entry["accounts"])
        if not debits == credits_ == _value(entry["debits"]) == _value(entry["credits"]):
            return False
    return True


def trial_balance_table(entry: dict[str, Any]) -> Table:
    """Return the table of one currency of a trial balance."""
    from rich.table import Table

    currency = entry["currency"]
    table = Table(title=f"Trial balance, {currency}", show_footer=True, header_style="bold")
    table.add_column("account", footer="turnover")
    table.add_column("debits", justify="right", footer=_shown(entry["debits"], currency))
    table.add_column("credits", justify="right", footer=_shown(entry["credits"], currency))
    for account in entry["accounts"]:
        table.add_row(account["account_id"], _shown(account["debits"], currency), _shown(account["credits"], currency))
    return table


def _value(amount: Any) -> int:
    return int(amount["value"]) if isinstance(amount, dict) else int(amount)


def _shown(amount: Any, currency: str) -> str:
    return money({"value": _value(amount), "currency": currency})
