"""`lastro migrate`: creates and changes what this version needs in MongoDB, Cassandra, Vault and Unleash."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple

import typer

from cli.errors import CliError
from cli.options import Json
from cli.output import print_json, say

if TYPE_CHECKING:
    from shared.adapters.mongodb.sharding import Zone

_MONGODB: Final = ("mongodb://", "mongodb+srv://")
_VAULT: Final = ("vault+https://", "vault+http://")
_FLAGS: Final = "knative/platform/unleash/flags.json"
_UNLEASH: Final = ("unleash+https://", "unleash+http://")
_CASSANDRA: Final = ("cassandra://", "cassandra+tls://")


def migrate(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what is missing, and change nothing.")] = False,
    zones: Annotated[
        Path | None,
        typer.Option("--zones", metavar="FILE", help="Assign tenants to zones of a sharded MongoDB."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Create what is missing on the servers of LASTRO_DOCUMENTS, LASTRO_LEDGER, LASTRO_SECRETS and LASTRO_FLAGS.

    It creates the collections, validators, indexes and shard keys of MongoDB, the keyspace and tables of Cassandra, the
    mounts, keys, policies and roles of Vault, and the flags of Unleash; the last two only with an administrator's token
    in VAULT_TOKEN and UNLEASH_ADMIN_TOKEN. Functions do not do this themselves, and do not start on a database that was
    not migrated. It can be repeated, and functions of the previous version continue to run. The embedded store migrates
    itself when it is opened.
    """
    from shared.core.settings import InvalidSettings, Settings

    try:
        settings = Settings.from_environment()
    except InvalidSettings as error:
        raise CliError(str(error)) from None
    _require("LASTRO_DOCUMENTS", settings.documents, _MONGODB, "MongoDB")
    _require("LASTRO_LEDGER", settings.ledger, _CASSANDRA, "Cassandra")
    _require("LASTRO_SECRETS", settings.secrets, _VAULT, "Vault")
    _require("LASTRO_FLAGS", settings.flags, _UNLEASH, "Unleash")
    if not settings.documents and not settings.ledger:
        say("LASTRO_DOCUMENTS and LASTRO_LEDGER are not set: the embedded store migrates itself when it is opened")
    if zones is not None and not settings.documents:
        raise CliError("--zones needs LASTRO_DOCUMENTS: the zones are those of a sharded MongoDB")
    wanted = None if zones is None else _zones(zones)
    steps: list[str] = []
    done = steps.append if as_json else print
    if settings.documents:
        migrated = asyncio.run(_migrate_documents(settings.documents, done, wanted, dry_run=dry_run))
        _print_summary(migrated, dry_run=dry_run)
    if settings.ledger:
        _print_summary(asyncio.run(_migrate_ledger(settings.ledger, done, dry_run=dry_run)), dry_run=dry_run)
    if settings.secrets:
        _set_up_secrets(settings.secrets, done, dry_run=dry_run)
    if settings.flags:
        _set_up_flags(settings.flags, done, dry_run=dry_run)
    if as_json:
        print_json({"steps": steps})


class _Migrated(NamedTuple):
    """What was migrated, and the number of steps."""

    what: str
    steps: int


def _require(setting: str, url: str, schemes: tuple[str, ...], server: str) -> None:
    if url and not url.startswith(schemes):
        raise CliError(f"{setting} is not a URL with {' or '.join(schemes)}: only {server} is migrated")


def _print_summary(migrated: _Migrated, *, dry_run: bool) -> None:
    if not migrated.steps:
        say(f"{migrated.what} has everything")
    elif dry_run:
        say(f"{migrated.steps} steps are missing in {migrated.what}; without --dry-run they are done")
    else:
        say(f"{migrated.what} is migrated")


def _zones(file: Path) -> Mapping[str, Zone]:
    from shared.adapters.mongodb.sharding import read_zones
    from shared.core.settings import InvalidSettings

    try:
        return read_zones(file.read_text(encoding="utf-8"), file.name)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise CliError(f"{file} cannot be read: {reason}") from None
    except InvalidSettings as error:
        raise CliError(str(error)) from None


async def _migrate_documents(
    url: str, done: Callable[[str], None], zones: Mapping[str, Zone] | None, *, dry_run: bool
) -> _Migrated:
    from shared.adapters.mongodb.driver import BadUrl, Server
    from shared.adapters.mongodb.migration import NoTransactions, NotUnique, migrate
    from shared.adapters.mongodb.steps import WrongSchema
    from shared.core.settings import InvalidSettings
    from shared.ports.documents import Unavailable
    from shared.records.catalogue import COLLECTIONS

    try:
        server = Server(url)
    except BadUrl as error:
        raise CliError(f"LASTRO_DOCUMENTS cannot be used: {error}") from None
    try:
        steps = await migrate(server, COLLECTIONS, done, zones=zones, dry_run=dry_run)
    except (InvalidSettings, NotUnique, NoTransactions, WrongSchema, Unavailable) as error:
        raise CliError(f"{server.hosts}: {error}") from None
    finally:
        await server.aclose()
    return _Migrated(f"the database {server.name}", steps)


async def _migrate_ledger(url: str, done: Callable[[str], None], *, dry_run: bool) -> _Migrated:
    from shared.adapters.cassandra.schema import migrate
    from shared.adapters.cassandra.url import CassandraUrl
    from shared.core.settings import InvalidSettings
    from shared.ports.documents import Unavailable

    try:
        place = CassandraUrl.parse(url)
        steps = await migrate(place, done, dry_run=dry_run)
    except (InvalidSettings, Unavailable) as error:
        raise CliError(f"LASTRO_LEDGER cannot be used: {error}") from None
    return _Migrated(f"the keyspace {place.keyspace}", steps)


def _set_up_secrets(url: str, done: Callable[[str], None], *, dry_run: bool) -> None:
    from shared.adapters.vault.address import read_address
    from shared.adapters.vault.setup import WrongMount, set_up
    from shared.core.settings import InvalidSettings
    from shared.ports.documents import Unavailable

    token = os.environ.get("VAULT_TOKEN", "").strip()
    if not token:
        say("VAULT_TOKEN is not set, so the Vault of LASTRO_SECRETS is left as it is")
        return
    try:
        address = read_address(url)
        steps = set_up(address, token, done, dry_run=dry_run)
    except (InvalidSettings, WrongMount, Unavailable) as error:
        raise CliError(f"LASTRO_SECRETS cannot be set up: {error}") from None
    _print_summary(_Migrated(f"the Vault at {address.url}", steps), dry_run=dry_run)


def _set_up_flags(url: str, done: Callable[[str], None], *, dry_run: bool) -> None:
    from embedded.platform.platform import ROOT
    from shared.adapters.unleash.address import read_address
    from shared.adapters.unleash.setup import set_up
    from shared.core.settings import InvalidSettings
    from shared.ports.documents import Unavailable

    token = os.environ.get("UNLEASH_ADMIN_TOKEN", "").strip()
    if not token:
        say("UNLEASH_ADMIN_TOKEN is not set, so the Unleash of LASTRO_FLAGS is left as it is")
        return
    definition = json.loads((ROOT / _FLAGS).read_text(encoding="utf-8"))["data"]
    try:
        address = read_address(url)
        steps = set_up(address, token, definition, done, dry_run=dry_run)
    except (InvalidSettings, Unavailable, OSError) as error:
        raise CliError(f"LASTRO_FLAGS cannot be set up: {error}") from None
    _print_summary(_Migrated(f"the Unleash at {address.url}", steps), dry_run=dry_run)
