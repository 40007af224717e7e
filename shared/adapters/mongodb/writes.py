"""Translates a commit into writes of MongoDB: one statement for each document that it writes or expects.

All writes of a commit to one document become one statement, so that floors apply after all of them. The filter of a
statement has the conditions on its document; if it does not match, the commit is refused. If the commit contains the
whole document, the conditions are checked here.

A document that is only expected is also written: its `_expected` increases, which is not part of the document that
readers get. MongoDB detects a conflict between two transactions that write the same document, but not a conflict with a
read.

Writes to existing documents are ordered by collection and id. Of two commits that write the same documents, the one
that writes the first of them first is committed.

Commits that only increment the same documents, or only expect them, can be written in one transaction (see
`combining`): the increments of each document are added up, and its conditions and floors apply to the sum.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum
from operator import itemgetter
from typing import Any, NamedTuple

from shared.adapters.mongodb.encoding import (
    EXPECTED,
    TENANT,
    encode,
    encode_event,
    field_of,
    key_of,
    marker_key,
    to_bson,
)
from shared.adapters.mongodb.schema import INBOX, NONCES, OUTBOX
from shared.adapters.mongodb.statements import Delete, Insert, Replace, Statement, Stored, Update
from shared.core.money import MAX_MINOR_UNITS
from shared.ports.documents import (
    PRIMARY_INDEX,
    AlreadyExists,
    Change,
    Collection,
    Commit,
    Expectation,
    Floor,
    GuardRefused,
    VersionConflict,
)
from shared.ports.nonces import Nonce

_Key = tuple[str, str]
"""The name of the collection and the `_id`."""


class Batch(NamedTuple):
    """The statements for one collection, in their order.

    `ids` are the ids of their documents, and `owners` the places of their commits among those that are written
    together. `guarded` is the number of documents that the filters must match or delete in total. `versions` has the
    versions of the documents that were read, by `_id`.
    """

    collection: str
    statements: list[Statement]
    ids: list[str]
    owners: list[int]
    guarded: int = 0
    versions: Mapping[str, int] = {}


class Planned:
    """The writes of a commit.

    `shared` are the documents that it only increments or only expects: several commits may do so in one transaction.
    `own` are the other documents that it writes, and its marker, of which a transaction can have one write.

    Raises InvalidWrite, AlreadyExists, VersionConflict or GuardRefused for errors that can be detected without the
    store.
    """

    __slots__ = ("batches", "commit", "own", "shared", "writes")

    def __init__(self, commit: Commit) -> None:
        self.commit = commit
        self.writes = writes = _folded(commit)
        self.shared = frozenset(key for key, write in writes.items() if write.is_shared)
        marker = frozenset[_Key]() if commit.inbox is None else frozenset({(INBOX, str(commit.inbox))})
        self.own = marker | (writes.keys() - self.shared)
        self.batches = batches([self])

    def goes_with(self, batch: Mapping[_Key, _Write]) -> bool:
        """Return whether the commit can be written together with a batch that has these writes, and has to wait for it
        otherwise."""
        common = self.writes.keys() & batch.keys()
        return bool(common) and all(
            key in self.shared and batch[key].is_shared and self.writes[key].goes_with(batch[key]) for key in common
        )


def batches(members: Sequence[Planned]) -> list[Batch]:
    """Return the writes of one commit, or of several that go with each other, as one transaction: the
    marks first, and the documents that other commits may write too last.

    From its first write to such a document until its commit, a transaction conflicts with all others that write the
    document. Its new documents, its nonces and its events are therefore written before.

    Raises GuardRefused when a document that a commit determines completely is below its floor.
    """
    found: list[Batch] = []
    commits = list(enumerate(member.commit for member in members))
    marked = [(owner, commit.tenant_id, commit.inbox) for owner, commit in commits if commit.inbox is not None]
    if marked:
        markers: list[Statement] = [
            Insert({"_id": marker_key(marker), TENANT: tenant_id}) for _, tenant_id, marker in marked
        ]
        found.append(Batch(INBOX, markers, [str(marker) for *_, marker in marked], [owner for owner, *_ in marked]))
    documents = list(_document_batches(members))
    shared = {batch.collection for batch in documents if batch.guarded}
    found += [batch for batch in documents if batch.collection not in shared]
    nonces = [(owner, commit.nonce) for owner, commit in commits if commit.nonce is not None]
    if nonces:
        used: list[Statement] = [committed_nonce(nonce) for _, nonce in nonces]
        found.append(Batch(NONCES, used, [""] * len(used), [owner for owner, _ in nonces]))
    events = [(owner, event) for owner, commit in commits for event in commit.events]
    if events:
        # An event that several commits may publish replaces its former copy.
        statements: list[Statement] = [_stored_event(encode_event(event)) for _, event in events]
        found.append(Batch(OUTBOX, statements, [event.id for _, event in events], [owner for owner, _ in events]))
    found += [batch for batch in documents if batch.collection in shared]
    return found


def _stored_event(stored: Stored) -> Replace:
    return Replace({"_id": stored["_id"], TENANT: stored[TENANT]}, stored, upsert=True)


def nonce_key(nonce: Nonce) -> Stored:
    """Return the `_id` of a nonce."""
    return {TENANT: nonce.tenant_id, "issuedAt": int(nonce.issued_at.timestamp()), "value": nonce.value}


def committed_nonce(nonce: Nonce) -> Update:
    """Return the statement that marks a nonce as committed. A second commit with the nonce is refused by its key.

    The document may exist already, from `MongoNonces.use_once`. It does not exist when the nonces are in another store.
    """
    filter = {"_id": nonce_key(nonce), TENANT: nonce.tenant_id, "committed": {"$exists": False}}
    return Update(filter, {"$set": {"committed": True}, "$currentDate": {"usedAt": True}}, upsert=True)


def _document_batches(members: Sequence[Planned]) -> Iterable[Batch]:
    by_collection: dict[str, list[tuple[int, _Write]]] = {}
    for (name, _), owned in sorted(_joined(members).items()):
        by_collection.setdefault(name, []).append(owned)
    for name, written in by_collection.items():
        planned = [
            (stage, owner, write, statement) for owner, write in written for stage, statement in write.statements()
        ]
        planned.sort(key=itemgetter(0))
        # A deletion without conditions is not counted among the documents that must match.
        for stages in ((_Stage.RELEASE,), (_Stage.GUARDED, _Stage.INSERT), (_Stage.TAKE_BACK,)):
            chosen = [each for each in planned if each[0] in stages]
            if chosen:
                guarded = [write for stage, _, write, _ in chosen if stage == _Stage.GUARDED]
                versions = {write.key: write.version for write in guarded if write.version is not None}
                ids = [write.id for _, _, write, _ in chosen]
                owners = [owner for _, owner, _, _ in chosen]
                yield Batch(name, [statement for *_, statement in chosen], ids, owners, len(guarded), versions)


def _joined(members: Sequence[Planned]) -> dict[_Key, tuple[int, _Write]]:
    """Return the write to each document, and the place of its commit: the first one, where several share it."""
    found: dict[_Key, tuple[int, _Write]] = {}
    for owner, member in enumerate(members):
        for key, write in member.writes.items():
            if key in found:
                first, before = found[key]
                found[key] = first, before.and_then(write)
            else:
                found[key] = owner, write
    return found


class _Stage(IntEnum):
    """The order of the statements for one collection: a unique value is released before another document takes it."""

    RELEASE = 0
    """A deletion, also of an absent document."""
    GUARDED = 1
    """A write to a document that must exist and match the filter."""
    INSERT = 2
    TAKE_BACK = 3
    """The deletion of a document that the same commit inserts."""


def _folded(commit: Commit) -> dict[_Key, _Write]:
    """Return the writes of the commit to each document, with the expectations that apply before them."""
    writes: dict[_Key, _Write] = {}
    for collection, document in commit.inserts:
        key = (collection.name, key_of(document["tenant_id"], document["id"]))
        if key in writes:
            raise AlreadyExists(collection.name, PRIMARY_INDEX, document["id"])
        writes[key] = made = _Write(collection, document["tenant_id"], document["id"])
        made.insert(document)
    for collection, document in commit.replaces:
        _write(writes, collection, document["tenant_id"], document["id"]).replace(document)
    for change in commit.changes:
        _write(writes, change.collection, commit.tenant_id, change.id).change(change)
    for collection, id in commit.deletes:
        _write(writes, collection, commit.tenant_id, id).delete()
    for expectation in commit.expects:
        _write(writes, expectation.collection, expectation.tenant_id, expectation.id).expect(expectation)
    return writes


def _write(writes: dict[_Key, _Write], collection: Collection[Any, ...], tenant_id: str, id: str) -> _Write:
    key = (collection.name, key_of(tenant_id, id))
    if key not in writes:
        writes[key] = _Write(collection, tenant_id, id)
    return writes[key]


class _Write:
    """The writes of a commit to one document."""

    def __init__(self, collection: Collection[Any, ...], tenant_id: str, id: str) -> None:
        self.collection = collection
        self.tenant_id = tenant_id
        self.id = id
        self.key = key_of(tenant_id, id)
        self.version: int | None = None
        """The version that the stored document must have, when the commit depends on a read."""
        self._whole: dict[str, Any] | None = None
        """The document after the commit, when the commit determines all of it."""
        self._inserted = self._deleted = False
        self._conditions: list[Stored] = []
        self._increments: dict[str, int] = {}
        self._assigned: dict[str, Any] = {}
        self._changes = 0
        self._reads_a_sum = False
        """Whether a condition is on an integer, which another commit may increment."""

    # Collecting the writes, in the order in which the port applies them

    def insert(self, document: dict[str, Any]) -> None:
        self._whole, self._inserted = document, True

    def replace(self, document: dict[str, Any]) -> None:
        version = document["version"]
        if self._whole is None:
            self.version = version
        elif self._whole["version"] != version:
            raise VersionConflict(f"{self._name} changed since it was read")
        self._whole = {**document, "version": version + 1}

    def change(self, change: Change) -> None:
        if self._whole is not None:
            self._whole = _changed(self._name, self._whole, change)
            return
        for name, value in change.where.items():
            self._require(name, value)
        self._changes += 1
        for name, value in change.assign.items():
            self._assigned[name] = value
            self._increments.pop(name, None)
        for name, increment in change.increments.items():
            if name in self._assigned:
                self._assigned[name] = _sum(self._name, name, self._assigned[name] or 0, increment)
            else:
                self._increments[name] = self._increments.get(name, 0) + increment

    def _require(self, name: str, value: Any) -> None:
        """Add a condition of a change. It applies to the document after the earlier changes."""
        if name in self._assigned:
            if self._assigned[name] != value:
                raise GuardRefused(f"{self._name}: {name} is not {value!r}")
        else:
            self._reads_a_sum = self._reads_a_sum or type(value) is int
            before = value - self._increments[name] if name in self._increments else value
            self._conditions.append({field_of(name): {"$eq": to_bson(before)}})

    def delete(self) -> None:
        self._deleted = True

    @property
    def is_shared(self) -> bool:
        """Whether other commits may write the document in the same transaction (see `goes_with`): the commit only adds
        to fields and depends on nothing that additions change, or it only expects the document."""
        if self._assigned or self._deleted or self._reads_a_sum or self._whole is not None:
            return False
        return (self.version is None) == bool(self._changes)

    def goes_with(self, other: _Write) -> bool:
        """Return whether two shared writes of one document can be one: both add, or both expect the same version."""
        return self.version == other.version

    def and_then(self, other: _Write) -> _Write:
        """Return both writes as one. A floor that holds after all additions holds in one of their orders."""
        both = _Write(self.collection, self.tenant_id, self.id)
        both.version = self.version
        both._changes = self._changes + other._changes
        both._increments = dict(self._increments)
        for name, increment in other._increments.items():
            both._increments[name] = both._increments.get(name, 0) + increment
        both._conditions = self._conditions + [each for each in other._conditions if each not in self._conditions]
        return both

    def expect(self, expectation: Expectation) -> None:
        if self._inserted or self.version not in (None, expectation.version):
            raise VersionConflict(f"{self._name} changed since it was read")
        self.version = expectation.version

    @property
    def _name(self) -> str:
        return f"{self.collection.name}/{self.id}"

    # The result

    def statements(self) -> Iterable[tuple[_Stage, Statement]]:
        """Return the statement for this document; two for one that is inserted and deleted. Raises GuardRefused."""
        if self._deleted:
            if self._inserted:
                yield _Stage.INSERT, Insert(encode(self._whole or {}))
                yield _Stage.TAKE_BACK, Delete({"_id": self.key, TENANT: self.tenant_id})
            else:
                is_guarded = self.version is not None or self._changes
                yield _Stage.GUARDED if is_guarded else _Stage.RELEASE, Delete(self._filter())
        elif self._whole is None:
            yield _Stage.GUARDED, Update(self._filter(), self._update())
        else:
            for floor in self.collection.floors:
                if sum(sign * (self._whole.get(name) or 0) for name, sign in floor.terms) < 0:
                    raise GuardRefused(f"{self._name} would fall below its floor")
            stored = encode(self._whole)
            yield (
                (_Stage.INSERT, Insert(stored)) if self._inserted else (_Stage.GUARDED, Replace(self._filter(), stored))
            )

    def _filter(self) -> Stored:
        filter: Stored = {"_id": self.key, TENANT: self.tenant_id}
        if self.version is not None:
            filter["version"] = self.version
        conditions = list(self._conditions)
        for name, increment in self._increments.items():
            # An absent field counts as 0.
            if increment > 0:
                conditions.append({name: {"$not": {"$gt": to_bson(MAX_MINOR_UNITS - increment)}}})
            elif increment < 0:
                conditions.append({name: {"$not": {"$lt": to_bson(-MAX_MINOR_UNITS - increment)}}})
        if self._changes and not self._deleted:
            conditions += [{"$expr": self._above(floor)} for floor in self.collection.floors]
        if conditions:
            filter["$and"] = conditions
        return filter

    def _above(self, floor: Floor) -> Stored:
        """Return the expression that the floor is met after the changes.

        A sum beyond 64 bits becomes a double. With one negative term that is exact enough: the term is within 64 bits,
        so a positive sum beyond them is greater.
        """
        sides: dict[bool, list[Any]] = {True: [], False: []}
        for name, sign in floor.terms:
            for _ in range(abs(sign)):
                sides[sign > 0].append(self._after(name))
        return {"$gte": [{"$add": sides[True] or [0]}, {"$add": sides[False] or [0]}]}

    def _after(self, name: str) -> Any:
        if name in self._assigned:
            return to_bson(self._assigned[name] or 0)
        stored = {"$ifNull": [f"${name}", 0]}
        increment = self._increments.get(name, 0)
        return {"$add": [stored, to_bson(increment)]} if increment else stored

    def _update(self) -> Stored:
        if not self._changes:
            return {"$inc": {EXPECTED: to_bson(1)}}
        increments = {**self._increments, "version": self._changes}
        update: Stored = {"$inc": {name: to_bson(increment) for name, increment in increments.items()}}
        if self._assigned:
            update["$set"] = {name: to_bson(value) for name, value in self._assigned.items()}
        return update


def _changed(name: str, document: dict[str, Any], change: Change) -> dict[str, Any]:
    """Return a document, which the commit knows completely, after a change. Raises GuardRefused."""
    for field, value in change.where.items():
        if document.get(field) != value:
            raise GuardRefused(f"{name}: {field} is not {value!r}")
    after = {**document, **change.assign, "version": document["version"] + 1}
    for field, increment in change.increments.items():
        after[field] = _sum(name, field, after.get(field) or 0, increment)
    return after


def _sum(document: str, field: str, value: int, increment: int) -> int:
    total = value + increment
    if not -MAX_MINOR_UNITS <= total <= MAX_MINOR_UNITS:
        raise GuardRefused(f"{document}: {field} would leave 64 bits")
    return total
