"""The distribution of the collections over the shards of a cluster, by tenant, and the zones of tenants.

A collection with a unique index has the shard key `{tenantId: 1}`, because a unique index must begin with the shard
key; every other one has `{tenantId: 1, _id: 1}`, so that a tenant's documents can be split. Documents with the same
`tenantId` and `_id` are on one shard, whose index on `_id` refuses the second one.

A zone names the shards that hold some tenants: for the place of their data, or to give a large tenant its own.
Source: the MongoDB manual, "Shard Keys" and "Zones".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Final, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from shared.adapters.mongodb.driver import MinKey, Server
from shared.adapters.mongodb.encoding import TENANT
from shared.adapters.mongodb.schema import CollectionDefinition
from shared.adapters.mongodb.statements import Stored
from shared.adapters.mongodb.steps import Step, WrongSchema
from shared.core.settings import InvalidSettings
from shared.core.strict_yaml import YamlError, read_yaml

SHARD_KEY_INDEX: Final = "shard_key"
_AFTER: Final = "\0"
"""Appended to a text, makes the next text in the order of the server."""

_Name = Annotated[str, StringConstraints(min_length=1, max_length=120)]


class Zone(BaseModel):
    """Shards, and the tenants whose documents only these shards hold."""

    model_config = ConfigDict(extra="forbid", strict=True)

    shards: list[_Name] = Field(min_length=1)
    tenants: list[_Name] = Field(min_length=1)


class _Zones(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    zones: dict[_Name, Zone]


class _Range(NamedTuple):
    """A range of shard keys: of all documents of a tenant in a collection."""

    namespace: str
    tenant_id: str
    low: Stored
    high: Stored


def read_zones(text: str, file: str) -> Mapping[str, Zone]:
    """Return the zones, by name, of a YAML text: `zones: {NAME: {shards: [NAME, …], tenants: [ID, …]}}`.

    Raises InvalidSettings, also when a tenant is in two zones.
    """
    try:
        documents = read_yaml(text)
        found = _Zones.model_validate(documents[0].value if documents else None).zones
    except YamlError as error:
        raise InvalidSettings(f"{file}: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise InvalidSettings(f"{file}: {where}: {first['msg']}") from None
    zone_of: dict[str, str] = {}
    for name, zone in found.items():
        for tenant_id in zone.tenants:
            if tenant_id in zone_of:
                raise InvalidSettings(f"{file}: the tenant {tenant_id} is in {zone_of[tenant_id]} and in {name}")
            zone_of[tenant_id] = name
    return found


def shard_key(definition: CollectionDefinition) -> Stored:
    """Return the shard key of a collection."""
    return {TENANT: 1} if any(index.unique for index in definition.indexes) else {TENANT: 1, "_id": 1}


async def sharding_steps(
    server: Server, defined: Iterable[CollectionDefinition], zones: Mapping[str, Zone] | None
) -> list[Step]:
    """Return what is missing on a sharded cluster. Without `zones`, zones are left as they are.

    Raises WrongSchema for a collection with another shard key, and InvalidSettings for a zone with an unknown shard.
    """
    known = {each["_id"]: each for each in await server.configuration("collections")}
    definitions = tuple(defined)
    steps: list[Step] = []
    for definition in definitions:
        steps += _collection_steps(server, definition, known.get(f"{server.name}.{definition.name}"))
    if zones is not None:
        steps += await _zone_steps(server, definitions, zones)
    return steps


def _collection_steps(server: Server, definition: CollectionDefinition, found: Stored | None) -> list[Step]:
    key, namespace = shard_key(definition), f"{server.name}.{definition.name}"
    if found is not None and not found.get("unsplittable"):
        if dict(found["key"]) == key:
            return []
        raise WrongSchema(
            f"the collection {definition.name} is sharded by {', '.join(found['key'])} and not by {', '.join(key)}: "
            "give it this key with `reshardCollection`"
        )
    # A collection that has documents needs the index before it is sharded.
    index = {"createIndexes": definition.name, "indexes": [{"name": SHARD_KEY_INDEX, "key": key}]}
    shard = {"shardCollection": namespace, "key": key}
    return [
        Step(f"create the index {SHARD_KEY_INDEX} of {definition.name}", partial(server.command, index)),
        Step(f"shard {definition.name} by {', '.join(key)}", partial(server.administer, shard)),
    ]


async def _zone_steps(
    server: Server, definitions: Sequence[CollectionDefinition], zones: Mapping[str, Zone]
) -> list[Step]:
    shards = {each["_id"]: each.get("tags", []) for each in await server.configuration("shards")}
    steps: list[Step] = []
    for name, zone in zones.items():
        for shard in zone.shards:
            if shard not in shards:
                raise InvalidSettings(
                    f"the zone {name} has the shard {shard}, and the cluster has {', '.join(sorted(shards))}"
                )
            if name not in shards[shard]:
                add = {"addShardToZone": shard, "zone": name}
                steps.append(Step(f"add the shard {shard} to the zone {name}", partial(server.administer, add)))
    wanted = {
        (each.namespace, each.tenant_id): (name, each)
        for name, zone in zones.items()
        for tenant_id in zone.tenants
        for each in (_range(server, definition, tenant_id) for definition in definitions)
    }
    namespaces = {f"{server.name}.{definition.name}" for definition in definitions}
    there: dict[tuple[str, str], str] = {}
    for assigned in await server.configuration("tags"):
        if assigned["ns"] not in namespaces:
            continue
        tenant_id = assigned["min"][TENANT]
        zone_name, _ = wanted.get((assigned["ns"], tenant_id), ("", None))
        if assigned["tag"] == zone_name:
            there[assigned["ns"], tenant_id] = zone_name
            continue
        # Ranges of two zones must not overlap, so the former one is removed first.
        old = _Range(assigned["ns"], tenant_id, dict(assigned["min"]), dict(assigned["max"]))
        steps.append(_assign(server, old, None, f"from the zone {assigned['tag']}"))
    steps += [
        _assign(server, each, name, f"to the zone {name}")
        for place, (name, each) in wanted.items()
        if there.get(place) != name
    ]
    return steps


def _range(server: Server, definition: CollectionDefinition, tenant_id: str) -> _Range:
    rest: dict[str, Any] = {name: MinKey() for name in shard_key(definition) if name != TENANT}
    low, high = {TENANT: tenant_id, **rest}, {TENANT: tenant_id + _AFTER, **rest}
    return _Range(f"{server.name}.{definition.name}", tenant_id, low, high)


def _assign(server: Server, keys: _Range, zone: str | None, where: str) -> Step:
    command = {"updateZoneKeyRange": keys.namespace, "min": keys.low, "max": keys.high, "zone": zone}
    collection = keys.namespace.partition(".")[2]
    return Step(f"assign {collection} of the tenant {keys.tenant_id} {where}", partial(server.administer, command))
