"""Duplicate keys as mongod reports them: the index, its key pattern, and the existing values."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import asyncpg
import bson
from bson.decimal128 import Decimal128

from tests.servers.mongo_gateway.engine import Engine
from tests.servers.mongo_gateway.errors import CommandError

_INDEX_OF_MESSAGE: Final = re.compile(r"Index '(.*)'$")
_RUM_INDEX: Final = re.compile(r"^documents_rum_index_(\d+)$")
_DOCUMENT: Final = re.compile(r"[(, ]BSONHEX([0-9a-f]+)")
_INDEX_NAME: Final = (
    "SELECT (index_spec).index_name FROM documentdb_api_catalog.collection_indexes WHERE index_id = $1::integer"
)


class DuplicateKeys:
    """Formats the engine's errors about duplicate keys."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def of_write(
        self, database: str, collection: str, message: str, statement: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the fields of a write error, from the engine's message and the statement that failed.

        `statement` is the inserted document, or an element of `updates`. The engine does not report the values that an
        update would have stored: they are taken from the update, and from the document that it was about to change.
        """
        found = _INDEX_OF_MESSAGE.search(message)
        name = found[1] if found else "_id_"
        document = statement
        if "q" in statement and "u" in statement:
            document = await self._updated(database, collection, statement)
        return await self._report(database, collection, name, document)

    async def of_error(self, database: str, collection: str, error: CommandError) -> CommandError:
        """Return the error of a whole command, from PostgreSQL's unique or exclusion violation."""
        cause = error.__cause__
        if not isinstance(cause, asyncpg.PostgresError):
            return error
        detail = cause.detail or ""
        constraint = getattr(cause, "constraint_name", None) or ""
        found = _DOCUMENT.search(detail)
        document = bson.decode(bytes.fromhex(found[1])) if found else {}
        rum = _RUM_INDEX.match(constraint)
        if rum is None:  # the primary key, whose value is a document with one empty name
            name, document = "_id_", {"_id": document.get("")}
        else:
            async with self._engine.connection() as connection:
                row = await self._engine.row(connection, _INDEX_NAME, int(rum[1]))
            name = str(row[0]) if row else constraint
        report = await self._report(database, collection, name, document)
        return CommandError(11000, report.pop("errmsg"), fields=report)

    async def _report(self, database: str, collection: str, name: str, document: Mapping[str, Any]) -> dict[str, Any]:
        pattern = await self._pattern(database, collection, name)
        values = {path: _at(document, path.split(".")) for path in pattern}
        shown = ", ".join(f"{path}: {_shown(value)}" for path, value in values.items())
        where = f"collection: {database}.{collection} index: {name}"
        return {
            "errmsg": f"E11000 duplicate key error {where} dup key: {{ {shown} }}",
            "keyPattern": pattern,
            "keyValue": values,
        }

    async def _pattern(self, database: str, collection: str, name: str) -> dict[str, Any]:
        if name == "_id_":
            return {"_id": 1}
        async with self._engine.connection() as connection:
            row = await self._engine.call(
                connection,
                "documentdb_api.list_indexes_cursor_first_page",
                database,
                {"listIndexes": collection, "cursor": {"batchSize": 1000}},
                seconds=None,
            )
        for index in bson.decode(row[0])["cursor"]["firstBatch"]:
            if index["name"] == name:
                return dict(index["key"])
        return {}

    async def _updated(self, database: str, collection: str, statement: Mapping[str, Any]) -> dict[str, Any]:
        query, update = dict(statement["q"]), statement["u"]
        async with self._engine.connection() as connection:
            row = await self._engine.call(
                connection,
                "documentdb_api.find_cursor_first_page",
                database,
                {"find": collection, "filter": query, "limit": 1, "singleBatch": True},
                0,
                seconds=None,
            )
        batch: Sequence[Any] = bson.decode(row[0])["cursor"]["firstBatch"]
        equal = {path: value for path, value in query.items() if not path.startswith("$") and not _is_condition(value)}
        document = dict(batch[0]) if batch else equal
        if isinstance(update, Sequence):  # a pipeline, whose result is not known here
            return document
        if not any(str(path).startswith("$") for path in update):
            return {**({"_id": document["_id"]} if "_id" in document else {}), **update}
        for operator in ("$set",) if batch else ("$setOnInsert", "$set"):
            document.update(update.get(operator, {}))
        return document


def _is_condition(value: Any) -> bool:
    return isinstance(value, Mapping) and any(str(key).startswith("$") for key in value)


def _at(document: Any, path: Sequence[str]) -> Any:
    """Return the value at a dotted path, or None when there is none, as an index does."""
    if isinstance(document, Mapping) and ".".join(path) in document:  # a path that an update has set
        return document[".".join(path)]
    for name in path:
        if not isinstance(document, Mapping) or name not in document:
            return None
        document = document[name]
    return document


def _shown(value: Any) -> str:  # noqa: PLR0911 - one line for each type with its own form
    """Return a value in the form of mongod's error messages."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, datetime):
        return f"new Date({int(value.timestamp() * 1000)})"
    if isinstance(value, bson.ObjectId):
        return f"ObjectId('{value}')"
    if isinstance(value, bson.Binary):
        return (
            f'UUID("{value.as_uuid()}")' if value.subtype == 4 else f"BinData({value.subtype}, {value.hex().upper()})"
        )
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{name}: {_shown(part)}' for name, part in value.items())} }}"
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return f"[ {', '.join(_shown(part) for part in value)} ]"
    return str(value) if isinstance(value, int | float | Decimal128) else repr(value)
