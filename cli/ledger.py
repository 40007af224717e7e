"""`lastro ledger trial-balance`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from cli.client import Client
from cli.options import DEFAULT_DATA_DIR, DataDir, Json, Tenant
from cli.output import console, money, print_json

if TYPE_CHECKING:
    from rich.table import Table

app = typer.Typer(no_args_is_help=True, help="The ledger.")


@app.callback()
def _ledger() -> None:
    """The ledger: its trial balance."""


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
