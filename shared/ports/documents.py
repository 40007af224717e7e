"""The documents port: everything but the ledger, stored by tenant and changed by atomic commits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, Generic, NamedTuple, NewType, ParamSpec, Protocol, TypeVar

from pydantic import ConfigDict, with_config
from typing_extensions import TypedDict  # pydantic reads typing's own on Python 3.12 and later only

from shared.core.envelope import Envelope
from shared.core.problems import sentence
from shared.ports.nonces import Nonce

PLATFORM = "-"
"""The `tenant_id` of documents that belong to the platform. No tenant can have this id."""


@with_config(ConfigDict(extra="forbid", strict=True))
class Document(TypedDict):
    """The fields of every document: its id, the tenant that it is stored under, and how often it was written.

    `version` is 1 for a new document and grows by 1 with each change.
    """

    id: str
    tenant_id: str
    version: int


class NoChanges(TypedDict, total=False):
    """The `changes` of a collection whose documents do not change after insertion."""


D = TypeVar("D", bound=Document)
P = ParamSpec("P")
Fields = Mapping[str, Any]
_NOTHING: Final[Fields] = MappingProxyType({})

ReadToken = NewType("ReadToken", object)
"""The state of a store when a read began. Only the store that made the token can interpret it."""


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
        """The name of the index in a store and in AlreadyExists."""
        return "__".join(self.fields)


class Floor(NamedTuple):
    """A sum of integer fields, each with a sign, that no commit may leave below zero."""

    terms: tuple[tuple[str, int], ...]


class Collection(Generic[D, P]):
    """A named set of documents of one type, and the rules for writing them.

    `owner` is the domain (a folder of `functions/`) or the package of the runtime that writes the collection; no other
    does. `document` is the TypedDict of its documents. `changes` is a TypedDict of the fields that may change after
    insertion, with the same types: the keyword arguments of `Context.update` are checked against it. `fields` and
    `changeable` are the names of both, and every store compares each write with them.

    Documents are values: code never changes one in place but replaces it by a new one.

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
        """Return the condition, for `Context.change`, that these fields have these values."""
        return fields


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


class Place(NamedTuple):
    """The end of a page that is ordered by a field: the value of that field in its last document, and the id."""

    value: str | int
    id: str


class Query(NamedTuple):
    """The documents to find, and their order. Conditions are joined by AND.

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
    """Increments of integer fields of one document. The commit is refused when `where` or a floor does not hold."""

    collection: Collection[Any, ...]
    id: str
    increments: Mapping[str, int]
    where: Fields = _NOTHING
    assign: Fields = _NOTHING


class Expectation(NamedTuple):
    """A document that was only read. The commit is refused when the document does not exist in this version."""

    collection: Collection[Any, ...]
    tenant_id: str
    id: str
    version: int


class InboxMarker(NamedTuple):
    """The record that a consumer has applied an event."""

    consumer: str
    source: str
    event_id: str


class Commit:
    """All writes and events of one run of a handler. It happens completely or not at all.

    An inserted or replaced document is stored under its own `tenant_id`; changes and deletes apply to `tenant_id` here.
    `replaces` have documents with the version that was read; the store writes them with the next version. `expects`
    apply to the documents before this commit's own writes. `read_token` was taken from the store before the first
    read; None means that the commit does not depend on a read. `nonce` is the nonce of the signature that authorized
    the commit: a store that does not make nonces durable in `Nonces.use_once` stores it in the same transaction, under
    a unique index, so that the loss of the nonces does not permit a replay. `attempt` belongs to the store: what it
    has to know of an earlier attempt at this commit, whose outcome is unknown.
    """

    __slots__ = (
        "attempt",
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
        self.attempt: object | None = None

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to write or publish, apart from a marker and expectations."""
        return not (self.inserts or self.replaces or self.changes or self.deletes or self.events)

    def collections(self) -> Iterator[Collection[Any, ...]]:
        """Return the collection of each write and expectation, repeated ones included."""
        for writes in (self.inserts, self.replaces, self.deletes):
            for collection, _ in writes:
                yield collection
        for change in self.changes:
            yield change.collection
        for expectation in self.expects:
            yield expectation.collection

    def check_fields(self) -> None:
        """Compare every write with the fields of its collection. Each store does this before it commits.

        Raises InvalidWrite for an inserted document that does not have exactly the fields of its type; for a replaced
        document with a field that its type does not have (a field may be absent, because an earlier version stored
        the document without it); and for an increment or assignment of a field that may not change.
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

    `shared.records.catalogue.COLLECTIONS` is the list of all collections. A store creates no collection at first use.
    """

    def __init__(self, collection: Collection[Any, ...]) -> None:
        super().__init__(f"the store was not opened with this collection {collection.name!r}: list it in the catalogue")


class InvalidWrite(Exception):
    """A write that the rules of its collection forbid: an error in the program, so a retry fails too.

    The commit did not happen. A request is answered with 500 `internal_error`; an event becomes a dead letter after the
    retries of its Trigger.
    """


class CommitRefused(Exception):
    """The commit did not happen, not even in part."""


class VersionConflict(CommitRefused):
    """A replaced or expected document has changed since it was read; the handler runs again."""


class AlreadyExists(CommitRefused):
    """Another document has the id of a new one (`index` is PRIMARY_INDEX), or its values in a unique index.

    `id` is the id of the document that could not be written.
    """

    def __init__(self, collection: str, index: str, id: str) -> None:
        super().__init__(f"{collection}/{id} is refused: another document has the same values in the index {index}")
        self.collection = collection
        self.index = index
        self.id = id


class GuardRefused(CommitRefused):
    """A change's condition or a floor does not hold."""


class AlreadyApplied(CommitRefused):
    """The inbox marker is committed already: the consumer has applied the event."""


class NonceUsed(CommitRefused):
    """The commit's nonce was stored by an earlier commit: the request is a replay."""


class Unavailable(Exception):
    """A store or another dependency cannot answer now. A later attempt may succeed.

    With `is_public`, the reason may be shown to a client: it names no host, and nothing that a store has answered.
    """

    def __init__(self, reason: str = "", *, is_public: bool = False) -> None:
        super().__init__(reason)
        self.told = sentence(reason) if is_public else "A store cannot answer at the moment."
        """What a client is told: a sentence."""


class CommitOutcomeUnknown(Unavailable):
    """The commit may have happened, or may still happen; it must not be treated as failed.

    The same commit is retried and the handler does not run again: if the commit has happened, the store has its marker
    or its stored response. The result of the retry is final: an earlier attempt that has not happened by then never
    happens.
    """


class Documents(Protocol):
    """The store of documents. Every read and write names its tenant.

    A store is opened with the list of its collections. Each method raises UnknownCollection for another collection.
    """

    @property
    def read_token(self) -> ReadToken | None:
        """The token for the commit, or the call of `durable`, that depends on the following reads. Take it before the
        first read.

        A store that can lose data that it has already returned refuses such a commit with VersionConflict. None when
        the store cannot lose data.
        """
        ...

    @property
    def answers_at_once(self) -> bool:
        """Whether `get` answers from memory. Otherwise it asks a server, and several reads are better made together."""
        ...

    async def get(self, collection: Collection[D, ...], tenant_id: str, id: str) -> D | None:
        """Return the document with this id, or None when the tenant has none in this collection."""
        ...

    async def find(self, collection: Collection[D, ...], tenant_id: str | None, query: Query) -> Sequence[D]:
        """Return a page of documents. `tenant_id` None reads across tenants; only the platform's own sweeps do that."""
        ...

    async def history(self, tenant_id: str, name: str, after: str | None, limit: int) -> Sequence[Envelope]:
        """Return the tenant's committed events whose place (`Envelope.history`) is `<name>/<anything>`, in the order of
        their places, behind the place `after`; each with its place.

        An event with a place is stored once, as it was published, and stays after it was marked sent.
        """
        ...

    async def seen(self, marker: InboxMarker) -> bool:
        """Return whether the marker was committed."""
        ...

    async def commit(self, commit: Commit) -> None:
        """Apply a commit.

        Raises VersionConflict, AlreadyExists, GuardRefused, AlreadyApplied, CommitOutcomeUnknown or Unavailable;
        InvalidWrite for an error in the program.
        """
        ...

    async def durable(self, read_token: ReadToken | None = None) -> None:
        """Wait until everything that this process has read or committed so far would survive a crash.

        Raises Unavailable when it would not, or when the store has lost data that was read since `read_token`.
        """
        ...

    async def unsent(self, older_than: str, limit: int) -> Sequence[Envelope]:
        """Return committed events that are older than a time and are not marked as sent, oldest first."""
        ...

    async def mark_sent(self, events: Sequence[Envelope]) -> None:
        """Mark events as sent, when the bus has accepted them."""
        ...
