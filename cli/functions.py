"""`lastro functions`: the functions, their ways in, and their counts."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.client import Client
from cli.errors import CliError
from cli.options import DEFAULT_DATA_DIR, DataDir, Json
from cli.output import console, print_json

_COLOURS = {"ready": "green", "loaded": "cyan", "idle": "dim"}


def functions(
    *,
    domain: Annotated[str | None, typer.Option("--domain", help="Only this domain's functions.")] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """List every function with its state, its ways in, and the number of its calls since the start."""
    with Client.of(data_dir, platform=True) as client:
        found: list[dict[str, Any]] = client.get("/platform/functions")["data"]
    if domain is not None:
        found = [entry for entry in found if entry["function"].startswith(domain + "/")]
        if not found:
            raise CliError(f"there is no function of a domain {domain}")
    if as_json:
        print_json({"data": found})
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title, justify in (("function", "left"), ("state", "left"), ("calls", "right"), ("retries", "right")):
        table.add_column(title, justify=justify, no_wrap=True)  # type: ignore[arg-type]  # two of rich's literals
    table.add_column("dead", justify="right", no_wrap=True)
    table.add_column("ways in", overflow="fold")
    for entry in found:
        colour = _COLOURS.get(entry["state"], "white")
        table.add_row(
            entry["function"],
            f"[{colour}]{entry['state']}[/]",
            str(entry["calls"]),
            _count(entry["retried"]),
            _count(entry["dead_lettered"]),
            "\n".join(entry["ways_in"]),
        )
    out = console()
    out.print(table, soft_wrap=False)
    calls = sum(entry["calls"] for entry in found)
    lag = max((entry["lag"] for entry in found), default=0)
    behind = f"; up to {lag} events on Kafka are not finished" if lag else ""
    out.print(f"\n{len(found)} functions, {calls} calls since the start{behind}")


def _count(number: int) -> str:
    return str(number) if number else "·"
