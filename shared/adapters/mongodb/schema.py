"""The collections, validators and indexes that `lastro migrate` creates, and the meaning of a refusal by an index.

Every index begins with the tenant, except the one by which the sweep finds unsent events of all tenants. On a sharded
cluster, a collection with a unique index is sharded by `{tenantId: 1}` and every other one by `{tenantId: 1, _id: 1}`,
because a unique index must begin with the shard key. Inbox markers have no tenant in their key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cache
from types import NoneType, UnionType
from typing import Any, Final, NamedTuple, Union, get_args, get_origin, get_type_hints

import orjson

from shared.adapters.mongodb.encoding import EXPECTED, TENANT, field_of
from shared.adapters.mongodb.statements import Stored
from shared.ports.documents import (
    PRIMARY_INDEX,
    AlreadyApplied,
    AlreadyExists,
    Collection,
    CommitRefused,
    Document,
    Index,
    NonceUsed,
    VersionConflict,
)
from shared.records.validators import validator

VERSION: Final = 5
"""The version of the schema. It increases with every change of `definitions`; a test checks this."""
OLDEST: Final = 1
"""The oldest schema version whose functions can still run on this one, as in a canary or a rollback."""

INBOX: Final = "inbox"
OUTBOX: Final = "outbox"
NONCES: Final = "nonces"
SCHEMA: Final = "lastro_schema"
"""The collection with one document: the version of the schema."""
SCHEMA_ID: Final = "documents"

NONCE_SECONDS: Final = 86_400
"""The time for which a nonce is stored after its use, by the clock of the server, in seconds. Its signature must have
expired by then."""

_PRESENT_TEXT: Final[Stored] = {"$gte": ""}
_PRESENT_INTEGER: Final[Stored] = {"$gte": -(2**63)}


class IndexDefinition(NamedTuple):
    """An index as the server stores it. `partial` is the condition for the documents in it; None means all
    documents."""

    name: str
    keys: tuple[str, ...]
    unique: bool = False
    partial: Stored | None = None
    expire_seconds: int | None = None

    def specification(self) -> Stored:
        """Return the index in the form of `createIndexes` and `listIndexes`."""
        made: Stored = {"name": self.name, "key": dict.fromkeys(self.keys, 1)}
        if self.unique:
            made["unique"] = True
        if self.partial is not None:
            made["partialFilterExpression"] = self.partial
        if self.expire_seconds is not None:
            made["expireAfterSeconds"] = self.expire_seconds
        return made


class CollectionDefinition(NamedTuple):
    """A collection as the server stores it."""

    name: str
    validator: Stored
    indexes: tuple[IndexDefinition, ...] = ()


def definitions(collections: Iterable[Collection[Any, ...]]) -> tuple[CollectionDefinition, ...]:
    """Return all collections of the database, in the order of their names."""
    defined = [*_OWN, *map(_definition, collections)]
    return tuple(sorted(defined, key=lambda each: each.name))


def digest(defined: Iterable[CollectionDefinition]) -> str:
    """Return a digest of the names, fields and indexes. Other parts of a validator depend on the version of
    pydantic."""
    known = [
        [each.name, sorted(each.validator["properties"]), [index.specification() for index in each.indexes]]
        for each in defined
    ]
    return hashlib.sha256(orjson.dumps(known, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


def _definition(collection: Collection[Any, ...]) -> CollectionDefinition:
    indexes = tuple(_index(collection, index) for index in collection.indexes)
    return CollectionDefinition(collection.name, _validator(collection), indexes)


def _index(collection: Collection[Any, ...], index: Index) -> IndexDefinition:
    partial: Stored | None = None
    if index.unique or index.sparse:
        # Not `sparse`: because of the tenant, a compound index would contain every document all the same.
        partial = {name: present(collection, name) for name in index.fields if nullable(collection, name)} or None
    keys = (TENANT, *map(field_of, index.fields))
    return IndexDefinition(index.name, keys if index.unique else (*keys, "_id"), index.unique, partial)


def _validator(collection: Collection[Any, ...]) -> Stored:
    """Return the JSON Schema of the stored documents: the tenant, and the type of each field.

    A field that is newer than a document, or than the function that inserts it, may be absent, and the server accepts
    unknown fields. `Commit.check_fields` checks that a document has the fields of its type.
    """
    fields = validator(collection)["properties"]
    properties = {field_of(name): _plain(schema) for name, schema in fields.items()}
    properties |= {"_id": {"type": "string"}, EXPECTED: {"type": "number"}}
    return _schema(properties, "_id", *map(field_of, Document.__annotations__))


def _plain(schema: Stored) -> Stored:
    """Return the same schema with only the keywords about values, and without `anyOf` for None."""
    if "anyOf" in schema:
        value, none = map(_plain, schema["anyOf"])
        assert none == {"type": "null"}, "a field of a document has one type, or one and None"
        if "enum" in value:
            return {"enum": [*value["enum"], None]}
        return {**value, "type": [value["type"], "null"]}
    if "enum" in schema:
        return {"enum": schema["enum"]}
    plain: Stored = {name: schema[name] for name in ("type", "multipleOf", "required") if name in schema}
    if "properties" in schema:
        plain["properties"] = {name: _plain(inner) for name, inner in schema["properties"].items()}
    return plain


def _schema(properties: Stored, *required: str) -> Stored:
    return {"type": "object", "properties": properties, "required": list(required)}


def present(collection: Collection[Any, ...], name: str) -> Stored:
    """Return the condition that a field is not null, in a form with which a partial index can answer a query."""
    kinds = _kinds(collection, name)
    if int in kinds:
        return _PRESENT_INTEGER
    return {"$ne": None} if Any in kinds else _PRESENT_TEXT


def nullable(collection: Collection[Any, ...], name: str) -> bool:
    """Return whether a field may be null."""
    return not {NoneType, Any}.isdisjoint(_kinds(collection, name))


@cache
def _kinds(collection: Collection[Any, ...], name: str) -> frozenset[Any]:
    kind = get_type_hints(collection.document)[name]
    return frozenset(get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,))


def _own(name: str, id: Stored, properties: Stored, *indexes: IndexDefinition) -> CollectionDefinition:
    schema = _schema({"_id": id, TENANT: {"type": "string"}, **properties}, "_id", TENANT)
    return CollectionDefinition(name, schema, indexes)


_OWN: Final = (
    _own(INBOX, {"type": "object", "required": ["consumer", "source", "eventId"]}, {}),
    _own(
        OUTBOX,
        {"type": "object", "required": [TENANT, "source", "id"]},
        {name: {} for name in ("type", "subject", "time", "extensions", "data", "topic", "history", "unsent")},
        IndexDefinition("history", (TENANT, "history"), partial={"history": _PRESENT_TEXT}),
        IndexDefinition("unsent", ("time",), partial={"unsent": True}),
    ),
    _own(
        NONCES,
        {"type": "object", "required": [TENANT, "issuedAt", "value"]},
        {"usedAt": {"bsonType": "date"}, "committed": {"type": "boolean"}},
        IndexDefinition("usedAt", ("usedAt",), expire_seconds=NONCE_SECONDS),
    ),
)


def refusal(collection: str, index: str, id: str) -> CommitRefused:
    """Return the refusal of a commit whose document has the key of another document in this index."""
    if collection == INBOX:
        return AlreadyApplied(id)
    if collection == NONCES:
        return NonceUsed("the signature has committed before")
    if collection == OUTBOX:
        return VersionConflict("another transaction commits the same event")
    return AlreadyExists(collection, index or PRIMARY_INDEX, id)
