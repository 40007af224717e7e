"""`lastro migrate`, and what a start refuses, on a model of the server's administration."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli.main import app
from shared.adapters.mongodb import migration
from shared.adapters.mongodb.driver import DuplicateKey
from shared.adapters.mongodb.migration import NoTransactions, NotUnique, check_schema, migrate
from shared.adapters.mongodb.schema import VERSION, definitions
from shared.adapters.mongodb.sharding import Zone, read_zones
from shared.adapters.mongodb.statements import Counts, Statement, Stored, Update
from shared.adapters.mongodb.steps import WrongSchema
from shared.core.settings import InvalidSettings
from tests.ports.documents_suite import COLLECTIONS


class Administration:
    """A database's collections and indexes, changed by the commands of a migration."""

    name = "books"
    hosts = "MongoDB at 127.0.0.1:1"

    def __init__(self) -> None:
        self.hello: Stored = {"setName": "rs0"}
        self.version: Stored | None = None
        self.collections: dict[str, Stored] = {}
        self.indexes: dict[str, dict[str, Stored]] = {}
        self.taken: set[str] = set()
        self.sharded: dict[str, Stored] = {}
        self.shards: dict[str, list[str]] = {"shard1": [], "shard2": []}
        self.ranges: list[Stored] = []

    async def command(self, command: Stored, accepted: Any = ()) -> Stored:
        if "create" in command:
            self.collections[command["create"]] = {"validator": command["validator"]}
        elif "collMod" in command:
            self.collections[command["collMod"]] = {"validator": command["validator"]}
        elif "dropIndexes" in command:
            del self.indexes[command["dropIndexes"]][command["index"]]
        elif "createIndexes" in command:
            for index in command["indexes"]:
                if index["name"] in self.taken:
                    raise DuplicateKey(index["name"], 0)
                self.indexes.setdefault(command["createIndexes"], {})[index["name"]] = {**index, "v": 2}
        return self.hello

    async def administer(self, command: Stored) -> None:
        if "shardCollection" in command:
            self.sharded[command["shardCollection"]] = {"_id": command["shardCollection"], "key": command["key"]}
        elif "addShardToZone" in command:
            self.shards[command["addShardToZone"]].append(command["zone"])
        else:
            self._assign(command)

    def _assign(self, command: Stored) -> None:
        """Assign a range of keys to a zone, and refuse one that overlaps with another."""
        low, high = command["min"]["tenantId"], command["max"]["tenantId"]
        assert list(command["min"]) == list(command["max"]) == list(self.sharded[command["updateZoneKeyRange"]]["key"])
        others = [each for each in self.ranges if each["ns"] == command["updateZoneKeyRange"]]
        if command["zone"] is None:
            self.ranges = [each for each in self.ranges if each not in others or each["min"] != command["min"]]
            return
        assert not any(each["min"]["tenantId"] < high and low < each["max"]["tenantId"] for each in others)
        self.ranges.append(
            {"ns": command["updateZoneKeyRange"], "min": command["min"], "max": command["max"], "tag": command["zone"]}
        )

    async def configuration(self, collection: str) -> list[Stored]:
        shards = [{"_id": name, "tags": zones} for name, zones in self.shards.items()]
        return {"collections": list(self.sharded.values()), "shards": shards, "tags": self.ranges}[collection]

    async def listed(self, command: Stored) -> list[Stored]:
        if "listIndexes" in command:
            return list(self.indexes.get(command["listIndexes"], {}).values())
        return [{"name": name, "options": options} for name, options in self.collections.items()]

    async def find_one(self, collection: str, filter: Stored) -> Stored | None:
        return self.version

    async def write(self, collection: str, statements: list[Statement]) -> Counts:
        (statement,) = statements
        assert isinstance(statement, Update)
        self.version = {**statement.filter, **statement.update["$set"]}
        return Counts(1, 0)

    async def aclose(self) -> None:
        """Nothing is open."""


@pytest.fixture
def server() -> Administration:
    return Administration()


async def steps(server: Any, *, zones: Mapping[str, Zone] | None = None, dry_run: bool = False) -> list[str]:
    """Migrate, and return the steps in words."""
    done: list[str] = []
    assert await migrate(server, COLLECTIONS, done.append, zones=zones, dry_run=dry_run) == len(done)
    return done


async def test_an_empty_database_gets_everything_and_then_its_version(server: Administration) -> None:
    """Every collection is created before its indexes, and the version is noted last; a second run does nothing."""
    done = await steps(server)
    assert "create the collection suite_accounts" in done
    assert done.index("create the index iban of suite_accounts") > done.index("create the collection suite_accounts")
    assert done[-1] == f"record version {VERSION} of the schema"
    assert set(server.collections) == {each.name for each in definitions(COLLECTIONS)}
    assert server.indexes["suite_accounts"]["iban"]["key"] == {"tenantId": 1, "iban": 1}
    assert await steps(server) == []


async def test_a_dry_run_changes_nothing(server: Administration) -> None:
    """A dry run returns the same steps and does none of them."""
    planned = await steps(server, dry_run=True)
    assert (server.collections, server.indexes, server.version) == ({}, {}, None)
    assert await steps(server) == planned


async def test_what_differs_is_changed(server: Administration) -> None:
    """A collection with another validator, and an index with other fields, are changed; the rest is left as it is."""
    await steps(server)
    server.collections["suite_notes"] = {}
    server.indexes["suite_notes"]["a"]["key"] = {"a": 1}
    server.indexes["suite_notes"]["mine"] = {"name": "mine", "key": {"c": 1}}
    assert await steps(server) == [
        "change the validator of suite_notes",
        "drop the index a of suite_notes, which is defined otherwise",
        "create the index a of suite_notes",
    ]
    assert "mine" in server.indexes["suite_notes"]


async def test_an_interrupted_migration_is_completed(server: Administration) -> None:
    """A migration that stops at an index that cannot be made says which, and does the rest when it is run again."""
    server.taken.add("iban")
    with pytest.raises(NotUnique, match="cannot create the index iban of suite_accounts: some documents of a tenant"):
        await steps(server)
    with pytest.raises(WrongSchema):
        await check_schema(server)  # type: ignore[arg-type]  # it has the same methods
    server.taken.clear()
    assert (await steps(server))[0] == "create the index iban of suite_accounts"
    await check_schema(server)  # type: ignore[arg-type]  # it has the same methods


async def test_a_start_refuses_a_database_that_was_not_migrated(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start refuses a missing, an older and an unknown schema in one line that says what to do, and takes a newer
    one with which its functions can run."""
    with pytest.raises(WrongSchema, match="the database books has no schema of Lastro: run `lastro migrate`"):
        await check_schema(server)
    server.version = {"version": VERSION + 2, "oldest": VERSION}
    await check_schema(server)
    server.version = {"version": VERSION + 2, "oldest": VERSION + 1}
    with pytest.raises(WrongSchema, match="start a newer Lastro"):
        await check_schema(server)
    with pytest.raises(WrongSchema, match="run `lastro migrate` of the newer Lastro"):
        await steps(server)
    server.version = {"version": VERSION, "oldest": VERSION}
    monkeypatch.setattr(migration, "VERSION", VERSION + 1)
    with pytest.raises(WrongSchema, match=f"needs {VERSION + 1}: run `lastro migrate`"):
        await check_schema(server)


async def test_a_server_without_transactions_is_refused(server: Administration) -> None:
    """A mongod that is no member of a replica set is refused with what to do; a router of a sharded cluster is not."""
    server.hello = {}
    with pytest.raises(NoTransactions, match="start mongod with --replSet"):
        await steps(server)
    server.hello = {"msg": "isdbgrid"}
    await steps(server)


def test_the_command_says_what_it_does(server: Administration, monkeypatch: pytest.MonkeyPatch) -> None:
    """`lastro migrate` prints each step and a summary; without a database, or with another URL, one line."""
    monkeypatch.setattr("shared.adapters.mongodb.driver.Server", lambda url: server)
    run = CliRunner()
    monkeypatch.setenv("LASTRO_DOCUMENTS", "mongodb://u:secret@127.0.0.1:1/books")
    planned = run.invoke(app, ["migrate", "--dry-run"])
    assert (planned.exit_code, server.collections) == (0, {})
    assert "without --dry-run" in planned.stderr
    as_json = run.invoke(app, ["migrate", "--dry-run", "--json"])
    assert json.loads(as_json.stdout) == {"steps": planned.stdout.splitlines()}
    done = run.invoke(app, ["migrate"])
    assert (done.stdout, done.stderr) == (planned.stdout, "the database books is migrated\n")
    assert run.invoke(app, ["migrate"]).stderr == "the database books has everything\n"
    server.hello = {}
    assert "neither a replica set" in str(run.invoke(app, ["migrate"]).exception)
    monkeypatch.setenv("LASTRO_DOCUMENTS", "postgres://x")
    refused = run.invoke(app, ["migrate"])
    assert (refused.exit_code, "only MongoDB is migrated" in str(refused.exception)) == (1, True)
    monkeypatch.delenv("LASTRO_DOCUMENTS")
    embedded = run.invoke(app, ["migrate"])
    assert (embedded.exit_code, "migrates itself" in embedded.stderr) == (0, True)


def test_a_bad_url_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """A URL that the driver cannot follow is named by its variable, without its password."""
    monkeypatch.setenv("LASTRO_DOCUMENTS", "mongodb://u:se@cret@x")
    refused = CliRunner().invoke(app, ["migrate"])
    assert refused.exit_code == 1
    assert "LASTRO_DOCUMENTS cannot be used: it is not a URL as mongodb://" in str(refused.exception)
    assert "cret" not in str(refused.exception)


@pytest.fixture
def router(server: Administration) -> Administration:
    """The router of a sharded cluster, whose database was migrated."""
    server.hello = {"msg": "isdbgrid"}
    return server


async def test_a_sharded_cluster_gets_shard_keys(router: Administration) -> None:
    """On a sharded cluster every collection is sharded by the tenant: alone where an index is unique, and with `_id`
    elsewhere; a second run does nothing."""
    done = await steps(router)
    assert done.index("shard suite_accounts by tenantId") > done.index("create the index shard_key of suite_accounts")
    assert done[-1] == f"record version {VERSION} of the schema"
    assert {name: list(each["key"]) for name, each in router.sharded.items()} == {
        f"books.{each.name}": ["tenantId"] if any(index.unique for index in each.indexes) else ["tenantId", "_id"]
        for each in definitions(COLLECTIONS)
    }
    assert await steps(router) == []


async def test_another_shard_key_is_refused(router: Administration) -> None:
    """A collection that is sharded by other fields is refused, with what to do."""
    router.sharded["books.inbox"] = {"_id": "books.inbox", "key": {"_id": "hashed"}}
    with pytest.raises(WrongSchema, match="inbox is sharded by _id and not by tenantId, _id: give it this key"):
        await steps(router)
    assert router.version is None


async def test_tenants_are_assigned_to_zones(router: Administration) -> None:
    """The documents of a tenant in every collection are assigned to its zone, and only its; a tenant that has moved is
    removed from its former zone first, and one that the file does not name any more is in no zone."""
    await steps(router)
    brazil = Zone(shards=["shard1"], tenants=["acme", "bolt"])
    await steps(router, zones={"brazil": brazil})
    assert router.shards == {"shard1": ["brazil"], "shard2": []}
    assert {(each["ns"], each["min"]["tenantId"]) for each in router.ranges} == {
        (namespace, tenant_id) for namespace in router.sharded for tenant_id in ("acme", "bolt")
    }
    assert all(low["tenantId"] < high["tenantId"] < low["tenantId"] + "-" for low, high in map(_bounds, router.ranges))
    assert await steps(router) == []
    moved = {"brazil": Zone(shards=["shard1"], tenants=["bolt"]), "large": Zone(shards=["shard2"], tenants=["acme"])}
    done = await steps(router, zones=moved)
    assert done[0] == "add the shard shard2 to the zone large"
    assert done.index("assign inbox of the tenant acme from the zone brazil") < done.index(
        "assign inbox of the tenant acme to the zone large"
    )
    assert await steps(router, zones=moved) == []
    await steps(router, zones={"large": moved["large"]})
    assert {each["tag"] for each in router.ranges} == {"large"}


def _bounds(found: Stored) -> tuple[Stored, Stored]:
    return found["min"], found["max"]


async def test_zones_need_their_shards(server: Administration) -> None:
    """Zones on a server that is not sharded, and a zone with an unknown shard, are refused before any change."""
    zones = {"brazil": Zone(shards=["shard7"], tenants=["acme"])}
    with pytest.raises(InvalidSettings, match="zones need a sharded cluster"):
        await steps(server, zones=zones)
    server.hello = {"msg": "isdbgrid"}
    with pytest.raises(InvalidSettings, match="zone brazil has the shard shard7, and the cluster has shard1, shard2"):
        await steps(server, zones=zones)
    assert (server.collections, server.sharded, server.ranges) == ({}, {}, [])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "zones.yaml: the file: "),
        ("zones: {a: {shards: [s]}}", "zones.yaml: zones.a.tenants: Field required"),
        ("zones: {a: {shards: [s], tenants: []}}", "zones.yaml: zones.a.tenants: "),
        ("zones: {a: {shards: [s], tenants: [t]}, a: {shards: [s], tenants: [u]}}", "zones.yaml: line 1: "),
        ("zones: {a: {shards: [s], tenants: [t]}, b: {shards: [s], tenants: [t]}}", "the tenant t is in a and in b"),
        ("zones: [", "zones.yaml: line 1: "),
    ],
)
def test_a_wrong_file_of_zones_is_refused(text: str, reason: str) -> None:
    """A file of zones that is not one is refused with its name and the place."""
    with pytest.raises(InvalidSettings) as refused:
        read_zones(text, "zones.yaml")
    assert reason in str(refused.value)


def test_the_command_reads_the_file_of_zones(tmp_path: Path) -> None:
    """`lastro migrate --zones` refuses a missing file and a wrong one, and needs the documents on a server."""
    missing, wrong = tmp_path / "missing.yaml", tmp_path / "zones.yaml"
    wrong.write_text("zones: 1")
    there = {"LASTRO_DOCUMENTS": "mongodb://127.0.0.1:1/books"}
    run = CliRunner().invoke
    assert "cannot be read: No such file" in str(run(app, ["migrate", "--zones", str(missing)], env=there).exception)
    assert "zones.yaml: zones: " in str(run(app, ["migrate", "--zones", str(wrong)], env=there).exception)
    nowhere = run(app, ["migrate", "--zones", str(wrong)], env={"LASTRO_DOCUMENTS": ""})
    assert "--zones needs LASTRO_DOCUMENTS" in str(nowhere.exception)
