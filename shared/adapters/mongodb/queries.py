"""Translates a query of the documents port into a filter and an order of MongoDB.

The tenant is added to the filter here. A query without a tenant is possible only where the port allows one, for the
sweeps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from shared.adapters.mongodb.encoding import TENANT, field_of, key_of, keys_of, to_bson
from shared.adapters.mongodb.schema import present
from shared.adapters.mongodb.statements import Stored
from shared.ports.documents import Collection, Place, Query

_ASCENDING: Final = 1
_DESCENDING: Final = -1


class Page(NamedTuple):
    """The filter, the order, and the greatest number of documents of a query."""

    filter: Stored
    sort: tuple[tuple[str, int], ...]
    limit: int


def page_of(collection: Collection[Any, ...], tenant_id: str | None, query: Query) -> Page:
    """Return the page. Raises ValueError for a condition on a field that the documents do not have."""
    collection.check_query(query)
    names = _Names(tenant_id)
    conditions: list[Stored] = _equal(names, query.where)
    if query.any_of:
        conditions.append({"$or": [_all_of(_equal(names, fields)) for fields in query.any_of]})
    conditions += [_within(names, name, bounds) for name, bounds in query.ranges.items()]
    if query.order_by is not None:
        conditions.append({names.field(query.order_by): present(collection, query.order_by)})
    if query.after is not None:
        conditions.append(_behind(names, query, query.after))
    if tenant_id is not None:
        if not conditions or query.ranges.keys() == {"id"}:
            # The documents of the tenant are a range of the primary index.
            conditions.append(_bounds("_id", *keys_of(tenant_id)))
        conditions.insert(0, {TENANT: tenant_id})
    return Page(_all_of(conditions), names.order(query), query.limit)


class _Names:
    """The names of fields in the filter. The order of a tenant's documents by `_id` is their order by `id`."""

    def __init__(self, tenant_id: str | None) -> None:
        self._tenant_id = tenant_id

    def field(self, name: str) -> str:
        return "_id" if name == "id" and self._tenant_id is not None else field_of(name)

    def value(self, name: str, value: Any) -> Any:
        if name == "id" and self._tenant_id is not None and value is not None:
            return key_of(self._tenant_id, value)
        return to_bson(value)

    def order(self, query: Query) -> tuple[tuple[str, int], ...]:
        fields = ["_id"] if self._tenant_id is not None else ["id", TENANT]
        if query.order_by is not None:
            fields.insert(0, self.field(query.order_by))
        direction = _DESCENDING if query.newest_first else _ASCENDING
        return tuple((name, direction) for name in fields)


def _equal(names: _Names, fields: Mapping[str, Any]) -> list[Stored]:
    return [{names.field(name): {"$eq": names.value(name, value)}} for name, value in fields.items()]


def _within(names: _Names, name: str, bounds: tuple[str | int | None, str | int | None]) -> Stored:
    start, end = (None if bound is None else names.value(name, bound) for bound in bounds)
    if start is None and end is None:
        return {names.field(name): {"$ne": None}}
    return _bounds(names.field(name), start, end)


def _bounds(field: str, start: Any, end: Any) -> Stored:
    conditions = {} if start is None else {"$gte": start}
    if end is not None:
        conditions["$lt"] = end
    return {field: conditions}


def _behind(names: _Names, query: Query, after: str | Place) -> Stored:
    beyond = "$lt" if query.newest_first else "$gt"
    if not isinstance(after, Place):
        return {names.field("id"): {beyond: names.value("id", after)}}
    assert query.order_by is not None, "a Place is of a page that is ordered by a field"
    field, value = names.field(query.order_by), names.value(query.order_by, after.value)
    return {
        # With the first condition, the index scan begins at the place.
        field: {f"{beyond}e": value},
        "$or": [{field: {beyond: value}}, {names.field("id"): {beyond: names.value("id", after.id)}}],
    }


def _all_of(conditions: list[Stored]) -> Stored:
    if len(conditions) == 1:
        return conditions[0]
    return {"$and": conditions} if conditions else {}
