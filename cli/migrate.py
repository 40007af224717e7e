"""`lastro migrate`: the database of LASTRO_DOCUMENTS gets the collections, validators and indexes of this version."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, Final

import typer

from cli.errors import CliError
from cli.options import Json
from cli.output import print_json, say

_SCHEMES: Final = ("mongodb://", "mongodb+srv://")


def migrate(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what is missing, and change nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Create what is missing in the database of LASTRO_DOCUMENTS: collections, validators and indexes.

    Functions never do this themselves, and do not start on a database that was not migrated. It can be repeated, and
    the functions of the version before go on running. The embedded store migrates itself when it is opened.
    """
    from shared.core.settings import InvalidSettings, Settings

    try:
        url = Settings.from_environment().documents
    except InvalidSettings as error:
        raise CliError(str(error)) from None
    if not url:
        say("LASTRO_DOCUMENTS is not set: the embedded store migrates itself when it is opened")
        if as_json:
            print_json({"steps": []})
        return
    if not url.startswith(_SCHEMES):
        raise CliError(f"LASTRO_DOCUMENTS is no URL with {' or '.join(_SCHEMES)}: only MongoDB is migrated")
    steps: list[str] = []
    asyncio.run(_migrate(url, steps.append if as_json else print, dry_run=dry_run))
    if as_json:
        print_json({"steps": steps})


async def _migrate(url: str, done: Callable[[str], None], *, dry_run: bool) -> None:
    from shared.adapters.mongodb.driver import BadUrl, Server
    from shared.adapters.mongodb.migration import NoTransactions, NotUnique, WrongSchema, migrate
    from shared.ports.documents import Unavailable
    from shared.records.catalogue import COLLECTIONS

    try:
        server = Server(url)
    except BadUrl as error:
        raise CliError(f"LASTRO_DOCUMENTS cannot be used: {error}") from None
    try:
        number = await migrate(server, COLLECTIONS, done, dry_run=dry_run)
    except (NotUnique, NoTransactions, WrongSchema, Unavailable) as error:
        raise CliError(str(error)) from None
    finally:
        await server.aclose()
    if not number:
        say(f"the database {server.name} has everything")
    elif dry_run:
        say(f"{number} steps are missing in the database {server.name}; without --dry-run they are done")
    else:
        say(f"the database {server.name} is migrated")
