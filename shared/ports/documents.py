"""The documents port: everything but the ledger, kept per tenant, changed by one atomic commit at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, Generic, NamedTuple, NewType, ParamSpec, Protocol, TypeVar

from pydantic import ConfigDict, with_config
from typing_extensions import TypedDict  # pydantic reads typing's own on Python 3.12 and later only

from shared.core.envelope import Envelope
from shared.ports.nonces import Nonce

PLATFORM = "-"
"""Owner of documents that belong to no tenant; no tenant's id can have this form."""


@with_config(ConfigDict(extra="forbid", strict=True))
class Document(TypedDict):
    """The fields of every document: its id, the tenant that it is stored under, and how often it was written.

    `version` is 1 for a new document and grows by 1 with each change.
    """

    id: str
    tenant_id: str
    version: int


class NoChanges(TypedDict, total=False):
    """For a collection whose documents never change once they are inserted."""


D = TypeVar("D", bound=Document)
P = ParamSpec("P")
Fields = Mapping[str, Any]
_NOTHING: Final[Fields] = MappingProxyType({})

ReadToken = NewType("ReadToken", object)
"""The state of a store at a moment; only the store that made it can read it."""


PRIMARY_INDEX: Final = "_id_"
"""The name of the unique index by tenant and id, which every collection has."""


class Index(NamedTuple):
    """Documents of a tenant are found by these fields, in the order of the last one and then of their ids.

    A document in which one of the fields is None is not in a `sparse` index.
    """

    fields: tuple[str, ...]
    unique: bool = False
    sparse: bool = False

    @property
    def name(self) -> str:
        """The name under which a store keeps it, and by which a refusal names it."""
        return "__".join(self.fields)


class Floor(NamedTuple):
    """A sum of integer fields, each with a sign, that no commit may leave below zero."""

    terms: tuple[tuple[str, int], ...]


class Collection(Generic[D, P]):
    """A named set of documents of one type, and the rules for writing them.

    `owner` is the domain (a folder of `functions/`) whose functions alone write the collection, or the package of the
    runtime that does. `document` is the TypedDict of its documents; `changes` a TypedDict of those fields that may
    change after insertion, with the same types. Its signature is what the type checker holds `Context.update` to.
    `fields` and `changeable` are their names, which a store holds every write to.

    Documents are values: they are never changed in place, only replaced by a new one.

    Raises ValueError when `changes`, an index or a floor names a field that the documents do not have.
    """

    __slots__ = ("changeable", "document", "fields", "floors", "indexes", "name", "owner")

    def __init__(
        self,
        name: str,
        *,
        owner: str,
        document: type[D],
        changes: Callable[P, Mapping[str, Any]],
        indexes: tuple[Index, ...] = (),
        floors: tuple[Floor, ...] = (),
    ) -> None:
        self.name = name
        self.owner = owner
        self.document = document
        self.fields = frozenset(document.__annotations__)
        self.changeable = frozenset(changes.__annotations__)
        self.indexes = indexes
        self.floors = floors
        self._check_names()

    def _check_names(self) -> None:
        indexed = {field for index in self.indexes for field in index.fields}
        summed = {field for floor in self.floors for field, _ in floor.terms}
        unknown = (self.changeable | indexed | summed) - self.fields
        if unknown:
            raise ValueError(f"the documents of {self.name} have no field {_listed(unknown)}")
        fixed = self.changeable & Document.__annotations__.keys()
        if fixed:
            raise ValueError(f"a change of {self.name} cannot set {_listed(fixed)}")

    def refuse_unknown(self, fields: Fields) -> None:
        """Raise InvalidWrite for a field that the documents do not have."""
        if not fields.keys() <= self.fields:
            raise InvalidWrite(f"{self.name}: its documents have no field {_listed(fields.keys() - self.fields)}")

    def refuse_unchangeable(self, changes: Fields) -> None:
        """Raise InvalidWrite for a field that may not change, or does not exist."""
        if not changes.keys() <= self.changeable:
            raise InvalidWrite(f"{self.name}: no change may set {_listed(changes.keys() - self.changeable)}")

    def check_query(self, query: Query) -> None:
        """Raise ValueError for a condition on a field that the documents do not have."""
        for named in (query.where, query.ranges, *query.any_of):
            if not named.keys() <= self.fields:
                raise ValueError(f"the documents of {self.name} have no field {_listed(named.keys() - self.fields)}")

    def where(self, *_: P.args, **fields: P.kwargs) -> Fields:
        """A condition on fields that may change, for `Context.change`: each has this value."""
        return fields


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


class Place(NamedTuple):
    """Where a page ends that is ordered by a field: the last document's value of it, and its id."""

    value: str | int
    id: str


class Query(NamedTuple):
    """Which documents, in which order. Conditions are joined by AND.

    `ranges` maps a field to (from, to): from inclusive, to exclusive, None for open. Order is by id or, where
    `order_by` names a field, by that field and then by id; documents in which it is None are not found then. The page
    begins behind `after`: an id or, with `order_by`, a Place.
    """

    where: Fields = _NOTHING
    any_of: tuple[Fields, ...] = ()
    ranges: Mapping[str, tuple[str | int | None, str | int | None]] = _NOTHING
    newest_first: bool = False
    after: str | Place | None = None
    limit: int = 20
    order_by: str | None = None


class Change(NamedTuple):
    """Increments of integer fields of one document, made only where `where` holds and every floor still does."""

    collection: Collection[Any, ...]
    id: str
    increments: Mapping[str, int]
    where: Fields = _NOTHING
    assign: Fields = _NOTHING


class Expectation(NamedTuple):
    """A document that was only read, and is to be as it was read when the commit happens: there, in this version."""

    collection: Collection[Any, ...]
    tenant_id: str
    id: str
    version: int


class InboxMarker(NamedTuple):
    """Says that a consumer has applied an event."""

    consumer: str
    source: str
    event_id: str


class Commit:
    """All that one handler run decided; it happens whole or not at all.

    An inserted or replaced document is kept under its own `tenant_id`; changes and deletes are of `tenant_id` here.
    `replaces` hold the document with the version that was read; the store writes it with the next one.
    `expects` are about the documents before this commit's own writes. `read_token` is the store's, taken before the
    first read; None: nothing rests on a read. `nonce` is that of the signature that authorized the commit: a store
    that does not make nonces durable in `Nonces.use_once` stores it in the same transaction under a unique index, so
    that a nonces store that has lost it opens nothing.
    """

    __slots__ = (
        "changes",
        "deletes",
        "events",
        "expects",
        "inbox",
        "inserts",
        "nonce",
        "read_token",
        "replaces",
        "tenant_id",
    )

    def __init__(
        self,
        tenant_id: str,
        *,
        inserts: list[tuple[Collection[Any, ...], dict[str, Any]]] | None = None,
        replaces: list[tuple[Collection[Any, ...], dict[str, Any]]] | None = None,
        changes: list[Change] | None = None,
        deletes: list[tuple[Collection[Any, ...], str]] | None = None,
        expects: list[Expectation] | None = None,
        events: list[Envelope] | None = None,
        inbox: InboxMarker | None = None,
        read_token: ReadToken | None = None,
        nonce: Nonce | None = None,
    ) -> None:
        self.tenant_id = tenant_id
        self.inserts = inserts or []
        self.replaces = replaces or []
        self.changes = changes or []
        self.deletes = deletes or []
        self.expects = expects or []
        self.events = events or []
        self.inbox = inbox
        self.read_token = read_token
        self.nonce = nonce

    @property
    def is_empty(self) -> bool:
        """Whether nothing is to be written or published; a marker or an expectation alone is nothing."""
        return not (self.inserts or self.replaces or self.changes or self.deletes or self.events)

    def collections(self) -> Iterator[Collection[Any, ...]]:
        """The collection of each write."""
        for writes in (self.inserts, self.replaces, self.deletes):
            for collection, _ in writes:
                yield collection
        for change in self.changes:
            yield change.collection

    def check_fields(self) -> None:
        """Hold every write to the fields of its collection, as each store does before it commits.

        Raises InvalidWrite for an inserted document that has not exactly the fields of its type, for a replaced one
        with a field that its type does not have (one may be absent: an earlier version stored the document without
        it), and for an increment or assignment of a field that may not change.
        """
        for collection, document in self.inserts:
            if document.keys() != collection.fields:
                collection.refuse_unknown(document)
                absent = _listed(collection.fields - document.keys())
                raise InvalidWrite(f"{collection.name}/{document['id']}: the new document lacks {absent}")
        for collection, document in self.replaces:
            collection.refuse_unknown(document)
        for collection, _, increments, where, assign in self.changes:
            collection.refuse_unchangeable(increments)
            if where:
                collection.refuse_unknown(where)
            if assign:
                collection.refuse_unchangeable(assign)


class UnknownCollection(Exception):
    """A collection that the store was not opened with, or another one of the same name: an error in the program.

    The list of all collections is `shared.records.catalogue.COLLECTIONS`; a store makes none at first use.
    """

    def __init__(self, collection: Collection[Any, ...]) -> None:
        super().__init__(f"the store was not opened with this collection {collection.name!r}: list it in the catalogue")


class InvalidWrite(Exception):
    """A write that the rules of its collection forbid: an error in the program, which no retry mends.

    Nothing of the commit happened. A request is answered 500 `internal_error`; an event goes to the dead letters when
    its Trigger's retries are used up.
    """


class CommitRefused(Exception):
    """The commit did not happen, and nothing of it did."""


class VersionConflict(CommitRefused):
    """A document that is replaced or expected is not as it was read; the handler decides again."""


class AlreadyExists(CommitRefused):
    """Another document has what a new one claims: its id (`index` is PRIMARY_INDEX), or the values of a unique index.

    `id` is of the document that could not be written.
    """

    def __init__(self, collection: str, index: str, id: str) -> None:
        super().__init__(f"{collection}/{id}: the index {index} has it already")
        self.collection = collection
        self.index = index
        self.id = id


class GuardRefused(CommitRefused):
    """A change's condition or a floor does not hold."""


class AlreadyApplied(CommitRefused):
    """The inbox marker is there: the event had its effect before."""


class NonceUsed(CommitRefused):
    """The commit's nonce was stored by an earlier commit: the request is a replay."""


class Unavailable(Exception):
    """A store or another dependency cannot answer now; trying again later is right."""


class CommitOutcomeUnknown(Unavailable):
    """The commit may have happened, may not have, or may still happen; it is never taken for one that has failed.

    The same commit is tried again, not decided again: where it happened, its marker or its answer is there. The answer
    to that settles it: what an earlier attempt has not done by then never happens.
    """


class Documents(Protocol):
    """Where documents are stored. Every read and write names its tenant.

    A store is opened with the list of its collections; each method that is given another raises UnknownCollection.
    """

    @property
    def read_token(self) -> ReadToken | None:
        """What is taken before the first of some reads and given to the commit, or to `durable`, that rests on them.

        A store that may take back what it had let be read refuses such a commit, with VersionConflict. None where
        that cannot happen.
        """
        ...

    async def get(self, collection: Collection[D, ...], tenant_id: str, id: str) -> D | None:
        """The document, or None."""
        ...

    async def find(self, collection: Collection[D, ...], tenant_id: str | None, query: Query) -> Sequence[D]:
        """A page of documents. `tenant_id` None reads across tenants: for the platform's own sweeps only."""
        ...

    async def history(self, tenant_id: str, name: str, after: str | None, limit: int) -> Sequence[Envelope]:
        """Return the tenant's committed events whose place (`Envelope.history`) is `<name>/<anything>`, in the order of
        their places, behind the place `after`; each with its place.

        An event with a place is stored once, as it was published, and stays after it was marked sent.
        """
        ...

    async def seen(self, marker: InboxMarker) -> bool:
        """Whether the marker was committed."""
        ...

    async def commit(self, commit: Commit) -> None:
        """Apply a commit.

        Raises VersionConflict, AlreadyExists, GuardRefused, AlreadyApplied, CommitOutcomeUnknown or Unavailable;
        InvalidWrite for an error in the program.
        """
        ...

    async def durable(self, read_token: ReadToken | None = None) -> None:
        """Return when everything that this process has read or committed so far would survive a crash.

        Raises Unavailable when it will not, or when what was read since `read_token` was taken back meanwhile.
        """
        ...

    async def unsent(self, older_than: str, limit: int) -> Sequence[Envelope]:
        """Committed events that were never marked sent, oldest first."""
        ...

    async def mark_sent(self, events: Sequence[Envelope]) -> None:
        """Note that the bus has these events."""
        ...
