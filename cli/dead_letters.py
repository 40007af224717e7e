"""`lastro dead-letters`: list, show, replay and discard undeliverable events."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.client import Client
from cli.errors import CliError
from cli.options import DEFAULT_DATA_DIR, DataDir, Json, Platform, Tenant
from cli.output import console, print_json
from cli.payments import all_pages

app = typer.Typer(no_args_is_help=True, help="Dead letters: events that a function could not process.")
Id = Annotated[str, typer.Argument(help="The dead letter's id.")]


def _path(letter_id: str | None = None, action: str | None = None, *, platform: bool) -> str:
    """Return the path of a tenant's dead letters, or of those without a tenant, which belong to the platform."""
    root = "/v1/platform/dead-letters" if platform else "/v1/dead-letters"
    return "/".join([root, *(part for part in (letter_id, action) if part is not None)])


@app.command("list")
def list_(
    *,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    tenant: Tenant = None,
    platform: Platform = False,
    as_json: Json = False,
) -> None:
    """List a tenant's dead letters, newest first; with --platform those without a tenant."""
    with Client.of(data_dir, tenant=tenant, platform=platform) as client:
        found = all_pages(client, _path(platform=platform))
    if as_json:
        print_json({"data": found})
        return
    out = console()
    if not found:
        out.print("No dead letters.")
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("id", "status", "event", "consumer", "cause", "attempts", "parked at"):
        table.add_column(title, no_wrap=title in ("id", "status"), overflow="fold")
    for letter in found:
        table.add_row(
            letter["id"],
            letter["status"],
            str(letter["event"].get("type")),
            letter["consumer"],
            str(letter["cause"]["code"]),
            str(letter["attempts"]),
            letter["parked_at"][:19].replace("T", " "),
        )
    out.print(table, soft_wrap=False)


@app.command()
def show(
    letter_id: Id,
    *,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    tenant: Tenant = None,
    platform: Platform = False,
    as_json: Json = False,
) -> None:
    """Show a dead letter: the event, the function that refused it, and the reason."""
    with Client.of(data_dir, tenant=tenant, platform=platform) as client:
        letter = client.get(_path(letter_id, platform=platform))
    if as_json:
        print_json(letter)
        return
    from rich.json import JSON

    out = console()
    attempts = "1 attempt" if letter["attempts"] == 1 else f"{letter['attempts']} attempts"
    out.print(f"[bold]{letter['id']}[/] {letter['status']} after {attempts}, parked at {letter['parked_at']}")
    cause = letter["cause"]
    out.print(f"{letter['consumer']} answered {cause['status']} {cause['code']}: {cause['detail']}")
    out.print(JSON.from_data(letter["event"]))


@app.command()
def replay(
    letter_id: Annotated[str | None, typer.Argument(help="The dead letter's id; without it, by the filters.")] = None,
    *,
    type_: Annotated[str | None, typer.Option("--type", help="All of events of this type.")] = None,
    consumer: Annotated[str | None, typer.Option("--consumer", help="All of this function.")] = None,
    before: Annotated[
        str | None, typer.Option("--before", metavar="TIME", help="All that were parked before this time (RFC 3339).")
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="All that are parked.")] = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    tenant: Tenant = None,
    platform: Platform = False,
    as_json: Json = False,
) -> None:
    """Publish events again, one or all that fit the filters; functions that have processed them do nothing."""
    filters = {name: value for name, value in (("type", type_), ("consumer", consumer), ("before", before)) if value}
    if (letter_id is not None) + bool(filters) + all_ != 1:
        raise CliError("name a dead letter, or filters (--type, --consumer, --before), or --all", 2)
    with Client.of(data_dir, tenant=tenant, platform=platform) as client:
        if letter_id is not None:
            _print_letter(client.post(_path(letter_id, "replay", platform=platform)), as_json=as_json)
            return
        _replay_all(client, _path("replay", platform=platform), filters, as_json=as_json)


def _replay_all(client: Client, path: str, filters: dict[str, str], *, as_json: bool) -> None:
    """Replay page by page, with the progress on standard error."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    examined, replayed, cursor = 0, list[str](), None
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("0 replayed")
        while True:
            answer = client.post(path, filters if cursor is None else {"cursor": cursor})
            examined += answer["examined"]
            replayed += answer["replayed"]
            progress.update(task, description=f"{len(replayed)} replayed of {examined} that are parked")
            cursor = answer["next_cursor"]
            if cursor is None:
                break
    if as_json:
        print_json({"examined": examined, "replayed": replayed})
    else:
        print(f"{len(replayed)} of {examined} parked dead letters are replayed")


@app.command()
def discard(
    letter_id: Id,
    *,
    reason: Annotated[str, typer.Option("--reason", help="Why it is given up.")],
    data_dir: DataDir = DEFAULT_DATA_DIR,
    tenant: Tenant = None,
    platform: Platform = False,
    as_json: Json = False,
) -> None:
    """Discard a dead letter, with a reason."""
    with Client.of(data_dir, tenant=tenant, platform=platform) as client:
        _print_letter(client.post(_path(letter_id, "discard", platform=platform), {"reason": reason}), as_json=as_json)


def _print_letter(letter: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(letter)
    else:
        print(f"{letter['id']} is {letter['status']}")
