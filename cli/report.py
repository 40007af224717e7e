"""`lastro report`: the report of a day, for operators."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from cli.client import Client, raise_refusal
from cli.errors import CliError
from cli.options import DEFAULT_DATA_DIR, DataDir, Json, Tenant
from cli.output import console, money, print_json, say


def report(
    *,
    day: Annotated[str | None, typer.Option("--day", metavar="YYYY-MM-DD", help="The day (UTC); yesterday.")] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write the report as a page to this file.")] = None,
    language: Annotated[str, typer.Option("--language", help="The language of the page: pt-BR or en.")] = "pt-BR",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    tenant: Tenant = None,
    as_json: Json = False,
) -> None:
    """Show what an operator has to look at of a day: audit, seal, reconciliations, dead letters.

    Ends with 1 when the audit has found differences.
    """
    target = "/v1/operations/report" if day is None else f"/v1/operations/report?day={quote(day, safe='')}"
    with Client.of(data_dir, tenant=tenant) as client:
        found = client.get(target)
        if html is not None:
            page = client.send("GET", target, headers={"Accept": "text/html", "Accept-Language": language})
            if not page.ok:
                raise_refusal(page)
            try:
                html.write_text(page.text, "utf-8")
            except OSError as error:
                raise CliError(f"{html} cannot be written: {error.strerror}") from None
            say(f"{html} is written")
    if as_json:
        print_json(found)
    elif html is None:
        _print(found)
    if found["audit"] is not None and not found["audit"]["passed"]:
        raise typer.Exit(1)


def _print(found: dict[str, Any]) -> None:
    from rich.table import Table

    out = console()
    audit, seal, letters = found["audit"], found["seal"], found["dead_letters"]
    if audit is None:
        out.print(f"{found['day']} has not been audited yet.")
    else:
        counted = f"{audit['transfers']} transfers, {audit['entries']} entries, {audit['difference_count']} differences"
        out.print(f"[bold]Audit of {found['day']}[/]: {counted}")
        for difference in audit["differences"]:
            out.print(f"  {difference}", style="red", markup=False)
    out.print(f"{found['day']} has not been sealed yet." if seal is None else f"[bold]Seal[/]: {seal['digest']}")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("provider", "clearing balance", "matched", "by the rules", "open", "oldest"):
        table.add_column(title)
    for each in found["reconciliations"]:
        share = each["automatic_share"]
        table.add_row(
            each["provider"],
            money(each["clearing_balance"]),
            str(each["matched"]),
            "-" if share is None else f"{share:.1%}",
            str(each["unmatched"]),
            each["oldest_unmatched_at"] or "-",
        )
    out.print(table)
    oldest = f", the oldest since {letters['oldest_parked_at']}" if letters["parked"] else ""
    out.print(f"[bold]Dead letters[/]: {letters['parked']}{oldest}")
