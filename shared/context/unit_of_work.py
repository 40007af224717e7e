"""Decide, then commit: what a handler reads, and the one atomic commit that its decisions become."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Any

from shared.core.envelope import Envelope
from shared.ports.documents import (
    Change,
    Collection,
    Commit,
    D,
    Documents,
    Expectation,
    Fields,
    InvalidWrite,
    P,
    Query,
)


class UnitOfWork:
    """Reads for one tenant and gathers writes. Nothing is written before `commit`.

    `domain` is whose functions write here: each write raises InvalidWrite when it does not own the collection.
    """

    __slots__ = ("_documents", "_domain", "_staged", "pending", "tenant_id")

    def __init__(self, documents: Documents, tenant_id: str, domain: str) -> None:
        self._documents = documents
        self._domain = domain
        self._staged: dict[tuple[str, str], Any] = {}
        self.tenant_id = tenant_id
        self.pending = Commit(tenant_id, read_token=documents.read_token)

    def get(self, collection: Collection[D, ...], id: str) -> Awaitable[D | None]:
        """The document as this unit of work would leave it (changes by increment apart), or None."""
        if self._staged:
            staged = self._staged.get((collection.name, id))
            if staged is not None:
                return _at_once(staged)
        return self._documents.get(collection, self.tenant_id, id)

    def find(self, collection: Collection[D, ...], query: Query) -> Awaitable[Sequence[D]]:
        """A page of the tenant's committed documents."""
        return self._documents.find(collection, self.tenant_id, query)

    def history(self, name: str, after: str | None, limit: int) -> Awaitable[Sequence[Envelope]]:
        """Return a page of the tenant's committed events in a history (see Documents.history)."""
        return self._documents.history(self.tenant_id, name, after, limit)

    def insert(self, collection: Collection[D, ...], document: D, *, tenant_id: str | None = None) -> D:
        """Store a new document; the commit is refused when its id exists. Returns the document.

        `tenant_id` stores it under another than this unit's tenant: a document of the platform that is to be there
        exactly when the tenant's own are (a tenant's client, the tenant of a provider's reference). Raises
        InvalidWrite when the document names yet another tenant, or a version other than 1.
        """
        if collection.owner != self._domain:
            raise self._not_owner(collection)
        stored: Any = document
        if stored["tenant_id"] != (tenant_id or self.tenant_id) or stored["version"] != 1:
            raise InvalidWrite(f"{collection.name}/{stored['id']} is no new document of {tenant_id or self.tenant_id}")
        self.pending.inserts.append((collection, stored))
        if tenant_id is None:
            self._staged[collection.name, stored["id"]] = stored
        return document

    def update(self, collection: Collection[D, P], document: D, /, *_: P.args, **changes: P.kwargs) -> D:
        """Change fields of a document that was read, and return it as it will be stored (but for its version).

        Which fields may change, and their types, the collection says. The commit is refused when the document has
        changed since it was read. Raises InvalidWrite for a field that may not change.
        """
        if collection.owner != self._domain:
            raise self._not_owner(collection)
        collection.refuse_unchangeable(changes)
        stored: Any = {**document, **changes}
        key = (collection.name, stored["id"])
        if key in self._staged:
            self._restage(collection, stored)
        else:
            self.pending.replaces.append((collection, stored))
        self._staged[key] = stored
        return stored  # type: ignore[no-any-return]  # the document with other values of its own fields

    def _restage(self, collection: Collection[Any, ...], stored: dict[str, Any]) -> None:
        for writes in (self.pending.inserts, self.pending.replaces):
            for position, (other, document) in enumerate(writes):
                if other is collection and document["id"] == stored["id"]:
                    writes[position] = (collection, stored)

    def change(
        self,
        collection: Collection[Any, P],
        id: str,
        where: Fields | None = None,
        /,
        *_: P.args,
        **increments: P.kwargs,
    ) -> None:
        """Add to integer fields without reading them first; refused when `where` or a floor does not hold."""
        if collection.owner != self._domain:
            raise self._not_owner(collection)
        integers: Any = increments
        self.pending.changes.append(Change(collection, id, integers, where or {}))

    def expect(self, collection: Collection[D, ...], document: D) -> None:
        """Have the commit refused when this document, which was read and is not written, has changed by then.

        For a decision that rests on it: of two commits that each write what the other has read, one is decided again.
        It is dear on a document that everybody reads: there each commit stands in the other's way.
        """
        expected = Expectation(collection, document["tenant_id"], document["id"], document["version"])
        self.pending.expects.append(expected)

    def delete(self, collection: Collection[Any, ...], id: str) -> None:
        """Remove a document; one that is not there is no error."""
        if collection.owner != self._domain:
            raise self._not_owner(collection)
        self.pending.deletes.append((collection, id))

    def _not_owner(self, collection: Collection[Any, ...]) -> InvalidWrite:
        return InvalidWrite(
            f"a function of {self._domain} may not write {collection.name}: only {collection.owner} may, its owner"
        )

    def publish(self, envelope: Envelope) -> None:
        """Publish an event, as it is, with the commit."""
        self.pending.events.append(envelope)


async def _at_once(document: D) -> D | None:
    return document
