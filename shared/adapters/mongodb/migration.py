"""`lastro migrate` creates and changes the collections, validators, indexes and shard keys of this version. A start
checks the version.

Every step can be repeated, so an interrupted run is completed by the next one. Only an index is ever deleted, when it
has the name of a required one but other fields. The document with the version is written last.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final

from shared.adapters.mongodb.driver import DuplicateKey, Server
from shared.adapters.mongodb.encoding import TENANT
from shared.adapters.mongodb.schema import (
    OLDEST,
    SCHEMA,
    SCHEMA_ID,
    VERSION,
    CollectionDefinition,
    IndexDefinition,
    definitions,
)
from shared.adapters.mongodb.sharding import Zone, sharding_steps
from shared.adapters.mongodb.statements import Stored, Update
from shared.adapters.mongodb.steps import Step, WrongSchema
from shared.core.settings import InvalidSettings
from shared.ports.documents import PLATFORM, Collection

_MIGRATE: Final = "run `lastro migrate` with the same LASTRO_DOCUMENTS"
_NAMESPACE_EXISTS: Final = 48
_COMPARED: Final = ("key", "unique", "partialFilterExpression", "expireAfterSeconds")


class NoTransactions(Exception):
    """The server is not a replica set or a sharded cluster, so it has no transactions."""


class NotUnique(Exception):
    """A unique index cannot be created, because some documents have equal values."""


async def check_server(server: Server) -> bool:
    """Return whether the server is a router of a sharded cluster. Raises NoTransactions for a server without them."""
    hello = await server.command({"hello": 1})
    is_router: bool = hello.get("msg") == "isdbgrid"
    if "setName" not in hello and not is_router:
        raise NoTransactions(
            "the server of LASTRO_DOCUMENTS is neither a replica set nor a sharded cluster, and has no transactions: "
            "start mongod with --replSet and initiate the set (one member is enough)"
        )
    return is_router


async def check_schema(server: Server) -> None:
    """Raise WrongSchema when the functions of this version cannot run on the database."""
    found = await server.find_one(SCHEMA, {"_id": SCHEMA_ID})
    if found is None:
        raise WrongSchema(f"the database {server.name} has no schema of Lastro: {_MIGRATE}")
    if found["version"] < VERSION:
        raise WrongSchema(
            f"the database {server.name} has version {found['version']} of the schema and this Lastro needs {VERSION}: "
            f"{_MIGRATE}"
        )
    if found["oldest"] > VERSION:
        raise WrongSchema(
            f"the database {server.name} has version {found['version']} of the schema, with which only Lastro of "
            f"version {found['oldest']} or newer can run, and this one has {VERSION}: start a newer Lastro"
        )


async def migrate(
    server: Server,
    collections: Iterable[Collection[Any, ...]],
    done: Callable[[str], None],
    *,
    zones: Mapping[str, Zone] | None = None,
    dry_run: bool = False,
) -> int:
    """Make the missing changes in the database. `done` is called with the description of each; returns their number.

    With `dry_run`, nothing is changed. On a sharded cluster the collections are sharded, and tenants are assigned to
    `zones`, by name; without zones those of the cluster stay. Raises NoTransactions, WrongSchema, Unavailable,
    NotUnique, or InvalidSettings for zones that the server cannot have.
    """
    is_sharded = await check_server(server)
    if zones is not None and not is_sharded:
        raise InvalidSettings("zones need a sharded cluster, and LASTRO_DOCUMENTS names no router (mongos) of one")
    steps = await missing_steps(server, collections, is_sharded=is_sharded, zones=zones)
    for step in steps:
        if not dry_run:
            try:
                await step.run()
            except DuplicateKey:
                raise NotUnique(f"cannot {step.text}: some documents of a tenant have the same values") from None
        done(step.text)
    return len(steps)


async def missing_steps(
    server: Server,
    collections: Iterable[Collection[Any, ...]],
    *,
    is_sharded: bool = False,
    zones: Mapping[str, Zone] | None = None,
) -> list[Step]:
    """Return the missing changes of the database, in their order.

    Raises WrongSchema when a newer Lastro has migrated the database, or a collection has another shard key, and
    InvalidSettings for zones that the cluster cannot have.
    """
    version = await server.find_one(SCHEMA, {"_id": SCHEMA_ID})
    if version is not None and version["version"] > VERSION:
        raise WrongSchema(
            f"the database {server.name} has version {version['version']} of the schema and this Lastro supports "
            f"{VERSION}: run `lastro migrate` of the newer Lastro"
        )
    there = {each["name"]: each for each in await server.listed({"listCollections": 1})}
    steps: list[Step] = []
    defined = definitions(collections)
    for definition in defined:
        steps += _collection_steps(server, definition, there.get(definition.name))
        indexes = {} if definition.name not in there else await _indexes(server, definition.name)
        for index in definition.indexes:
            steps += _index_steps(server, definition.name, index, indexes.get(index.name))
    if is_sharded:
        steps += await sharding_steps(server, defined, zones)
    if version is None or (version["version"], version["oldest"]) != (VERSION, OLDEST):
        steps.append(Step(f"record version {VERSION} of the schema", lambda: _note_version(server)))
    return steps


async def _indexes(server: Server, name: str) -> dict[str, Stored]:
    return {each["name"]: each for each in await server.listed({"listIndexes": name})}


def _collection_steps(server: Server, wanted: CollectionDefinition, found: Stored | None) -> list[Step]:
    validator: Stored = {"$jsonSchema": wanted.validator}
    rules = {"validator": validator, "validationLevel": "strict", "validationAction": "error"}
    if found is None:
        # Another process may migrate the database at the same time.
        create = _command(server, {"create": wanted.name, **rules}, (_NAMESPACE_EXISTS,))
        return [Step(f"create the collection {wanted.name}", create)]
    if found["options"].get("validator") == validator:
        return []
    return [Step(f"change the validator of {wanted.name}", _command(server, {"collMod": wanted.name, **rules}))]


def _index_steps(server: Server, collection: str, wanted: IndexDefinition, found: Stored | None) -> list[Step]:
    specification = wanted.specification()
    steps: list[Step] = []
    if found is not None:
        if all(_plain(found.get(option)) == specification.get(option) for option in _COMPARED):
            return []
        drop = {"dropIndexes": collection, "index": wanted.name}
        text = f"drop the index {wanted.name} of {collection}, which is defined otherwise"
        steps.append(Step(text, _command(server, drop)))
    create = {"createIndexes": collection, "indexes": [specification]}
    return [*steps, Step(f"create the index {wanted.name} of {collection}", _command(server, create))]


def _plain(value: Any) -> Any:
    return {key: _plain(inner) for key, inner in value.items()} if isinstance(value, dict) else value


def _command(server: Server, command: Stored, accepted: tuple[int, ...] = ()) -> Callable[[], Awaitable[object]]:
    return lambda: server.command(command, accepted)


async def _note_version(server: Server) -> None:
    noted = {"version": VERSION, "oldest": OLDEST, TENANT: PLATFORM}
    await server.write(SCHEMA, [Update({"_id": SCHEMA_ID}, {"$set": noted}, upsert=True)])
