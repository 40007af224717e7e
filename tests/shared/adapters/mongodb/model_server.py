"""A model of MongoDB in memory: the operators, transactions and unique indexes that the adapter uses.

It has the methods of `driver.Server`. It shows that the adapter asks for the right things; what a server answers, the
tests with a real one show. A transaction reads the documents as they were at its first write; a document that another
transaction has written since, or is writing, is a conflict. Each call of a transaction lets others run, as a call over
a network does.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from typing import Any

import orjson

from shared.adapters.mongodb.driver import DuplicateKey, Transaction
from shared.adapters.mongodb.schema import CollectionDefinition
from shared.adapters.mongodb.statements import Counts, Delete, Insert, Replace, Statement, Stored
from shared.ports.documents import CommitOutcomeUnknown, VersionConflict

Key = tuple[str, str]
Fault = Callable[[], Exception | None]


class ModelServer:
    """The documents of all collections, and what is to go wrong."""

    name = "model"

    def __init__(self, definitions: Iterable[CollectionDefinition]) -> None:
        self.definitions = {each.name: each for each in definitions}
        self.rows: dict[Key, Stored] = {}
        self.written: dict[Key, int] = {}
        self.locks: dict[Key, ModelTransaction] = {}
        self.commits = 0
        self.room = asyncio.Semaphore(8)
        self.calls: list[tuple[str, str]] = []
        """Each round trip: its kind, and the collection or ""."""
        self.unknown: deque[bool] = deque()
        """The next commits whose outcome is unknown, and whether they happen."""

    async def find(
        self,
        collection: str,
        filter: Stored,
        *,
        sort: Sequence[tuple[str, int]] = (),
        limit: int = 0,
        fields: Sequence[str] | None = None,
    ) -> list[Stored]:
        self.calls.append(("find", collection))
        found = [row for (name, _), row in self.rows.items() if name == collection and matches(row, filter)]
        for field, direction in reversed(sort):
            found.sort(key=lambda row: row[field], reverse=direction < 0)
        return deepcopy(found[: limit or None])

    async def find_one(self, collection: str, filter: Stored, fields: Sequence[str] | None = None) -> Stored | None:
        found = await self.find(collection, filter, limit=1)
        return found[0] if found else None

    async def write(self, collection: str, statements: Sequence[Statement], *, majority: bool = True) -> Counts:
        transaction = await self.transaction()
        counts = await transaction.write(collection, statements)
        transaction.apply()
        return counts

    async def transaction(self) -> ModelTransaction:
        return ModelTransaction(self)


class ModelTransaction(Transaction):
    """A transaction: its writes are in `changed` until it is committed."""

    def __init__(self, server: ModelServer) -> None:
        self.server = server
        self.begin()

    def begin(self) -> None:
        """Begin; an earlier one that is still open is aborted."""
        self.close()
        self.changed: dict[Key, Stored | None] = {}
        self.snapshot = dict(self.server.rows)
        self.started = self.server.commits

    def close(self) -> None:
        """Release the documents that are being written."""
        for key in [key for key, holder in self.server.locks.items() if holder is self]:
            del self.server.locks[key]

    async def write(self, collection: str, statements: Sequence[Statement]) -> Counts:
        self.server.calls.append(("write", collection))
        await asyncio.sleep(0)
        matched = deleted = 0
        for position, statement in enumerate(statements):
            if isinstance(statement, Insert):
                self._store(collection, statement.document, position, new=True)
                continue
            found = next((row for row in self._rows(collection) if matches(row, statement.filter)), None)
            if isinstance(statement, Delete):
                deleted += found is not None
                if found is not None:
                    self._put(collection, found, None)
            elif found is not None:
                matched += 1
                self._store(collection, _after(found, statement), position, new=False)
            elif statement.upsert:
                made = {name: value for name, value in statement.filter.items() if not isinstance(value, dict)}
                self._store(collection, _after({**made, "_id": statement.filter["_id"]}, statement), position, new=True)
        return Counts(matched, deleted)

    def _rows(self, collection: str) -> list[Stored]:
        rows = {**self.snapshot, **self.changed}
        return [row for (name, _), row in rows.items() if name == collection and row is not None]

    def _store(self, collection: str, row: Stored, position: int, *, new: bool) -> None:
        if new and any(other["_id"] == row["_id"] for other in self._rows(collection)):
            raise DuplicateKey("_id_", position)
        definition = self.server.definitions[collection]
        for index in definition.indexes:
            if not index.unique or not matches(row, index.partial or {}):
                continue
            values = [row[field] for field in index.keys]
            for other in self._rows(collection):
                if other["_id"] != row["_id"] and [other.get(field) for field in index.keys] == values:
                    raise DuplicateKey(index.name, position)
        assert set(definition.validator["required"]) <= row.keys() <= set(definition.validator["properties"])
        self._put(collection, row, row)

    def _put(self, collection: str, row: Stored, after: Stored | None) -> None:
        key = (collection, orjson.dumps(row["_id"], default=repr).decode())
        if self.server.locks.setdefault(key, self) is not self or self.server.written.get(key, 0) > self.started:
            raise VersionConflict("another transaction writes the same document")
        self.changed[key] = deepcopy(after)

    async def commit(self) -> None:
        self.server.calls.append(("commit", ""))
        await asyncio.sleep(0)
        if self.server.unknown:
            if self.server.unknown.popleft():
                self.apply()
            raise CommitOutcomeUnknown("the model does not say")
        self.apply()

    def apply(self) -> None:
        """Make the changes."""
        if self.changed:
            self.server.commits += 1
        for key, row in self.changed.items():
            self.server.written[key] = self.server.commits
            if row is None:
                self.server.rows.pop(key, None)
            else:
                self.server.rows[key] = row
        self.changed = {}
        self.close()

    async def abort(self) -> None:
        self.server.calls.append(("abort", ""))
        self.close()

    async def end(self) -> None:
        self.close()


def _after(row: Stored, statement: Any) -> Stored:
    if isinstance(statement, Replace):
        return statement.document
    after = dict(row)
    for operator, fields in statement.update.items():
        for name, value in fields.items():
            if operator == "$inc":
                after[name] = after.get(name, 0) + value
            elif operator == "$set":
                after[name] = value
            elif operator == "$unset":
                after.pop(name, None)
            else:
                assert operator == "$currentDate"
                after[name] = "now"
    return after


def matches(row: Stored, filter: Stored) -> bool:
    """Whether a document matches a filter."""
    for name, condition in filter.items():
        if name == "$and":
            holds = all(matches(row, each) for each in condition)
        elif name == "$or":
            holds = any(matches(row, each) for each in condition)
        elif name == "$expr":
            holds = bool(value_of(row, condition))
        elif isinstance(condition, dict) and all(key.startswith("$") for key in condition):
            holds = all(_holds(row, name, operator, operand) for operator, operand in condition.items())
        else:
            holds = row.get(name) == condition
        if not holds:
            return False
    return True


def _holds(row: Stored, name: str, operator: str, operand: Any) -> bool:
    value = row.get(name)
    if operator == "$not":
        return not matches(row, {name: operand})
    if operator == "$exists":
        return (name in row) is operand
    if operator == "$in":
        return bool(value in operand)
    if operator in ("$eq", "$ne"):
        same = value == operand and isinstance(value, bool) == isinstance(operand, bool)
        return same is (operator == "$eq")
    # Values of other types are in no range.
    if isinstance(value, str) != isinstance(operand, str) or value is None:
        return False
    below, above = bool(value < operand), bool(value > operand)
    return {"$gt": above, "$gte": not below, "$lt": below, "$lte": not above}[operator]


def value_of(row: Stored, expression: Any) -> Any:
    """Return the value of an aggregation expression."""
    if isinstance(expression, str) and expression.startswith("$"):
        return row.get(expression[1:])
    if not isinstance(expression, dict):
        return expression
    ((operator, operands),) = expression.items()
    values = [value_of(row, operand) for operand in operands]
    if operator == "$ifNull":
        return values[1] if values[0] is None else values[0]
    if operator == "$add":
        total = sum(values)
        return total if -(2**63) <= total < 2**63 else float(total)
    assert operator == "$gte"
    return bool(values[0] >= values[1])
