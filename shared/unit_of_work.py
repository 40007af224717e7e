"""Decide, then commit: what a handler reads, and the one atomic commit that its decisions become."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from shared.envelope import Envelope
from shared.ports.documents import Change, Collection, Commit, D, Documents, Query


class UnitOfWork:
    """Reads for one tenant and gathers writes. Nothing is written before `commit`."""

    __slots__ = ("_documents", "_staged", "pending", "tenant_id")

    def __init__(self, documents: Documents, tenant_id: str) -> None:
        self._documents = documents
        self._staged: dict[tuple[str, str], Mapping[str, Any]] = {}
        self.tenant_id = tenant_id
        self.pending = Commit(tenant_id, generation=documents.generation)

    async def get(self, collection: Collection[D], id: str) -> D | None:
        """The document as this unit of work would leave it (changes by increment apart), or None."""
        staged = self._staged.get((collection.name, id))
        if staged is not None:
            return cast("D", staged)
        return await self._documents.get(collection, self.tenant_id, id)

    async def find(self, collection: Collection[D], query: Query) -> Sequence[D]:
        """A page of the tenant's committed documents."""
        return await self._documents.find(collection, self.tenant_id, query)

    def insert(self, collection: Collection[D], document: D, *, owner: str | None = None) -> D:
        """Make a document; the commit is refused when its id exists. Returns it as it will be stored.

        `owner` keeps it under another than this unit's tenant: a document of the platform that is to be there
        exactly when the tenant's own are (a tenant's client, the tenant of a provider's reference).
        """
        stored = {**document, "tenant_id": owner or self.tenant_id, "version": 1}
        self.pending.inserts.append((collection, stored))
        if owner is None:
            self._staged[collection.name, stored["id"]] = stored
        return cast("D", stored)

    def replace(self, collection: Collection[D], document: D) -> D:
        """Put a new value in a document's place; the commit is refused when it changed since it was read."""
        stored = dict(document)
        key = (collection.name, stored["id"])
        if key in self._staged:
            self._restage(collection, stored)
        else:
            self.pending.replaces.append((collection, stored))
        self._staged[key] = stored
        return cast("D", stored)

    def _restage(self, collection: Collection[Any], stored: dict[str, Any]) -> None:
        for writes in (self.pending.inserts, self.pending.replaces):
            for position, (other, document) in enumerate(writes):
                if other is collection and document["id"] == stored["id"]:
                    writes[position] = (collection, stored)

    def change(
        self,
        collection: Collection[D],
        id: str,
        increments: Mapping[str, int],
        where: Mapping[str, Any] | None = None,
    ) -> None:
        """Add to integer fields without reading them first; refused when `where` or a floor does not hold."""
        self.pending.changes.append(Change(collection, id, increments, where or {}))

    def delete(self, collection: Collection[D], id: str) -> None:
        """Remove a document; one that is not there is no error."""
        self.pending.deletes.append((collection, id))

    def emit(self, envelope: Envelope) -> None:
        """Publish an event with the commit."""
        self.pending.events.append(envelope)
