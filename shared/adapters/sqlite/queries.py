"""The SELECT statement for a query of the documents port, written so that SQLite uses the collection's indexes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.adapters.sqlite.tables import Table
from shared.ports.documents import Place, Query


def select_page(table: Table, tenant_id: str | None, query: Query) -> tuple[str, list[Any]]:
    """Return the SQL and its parameters. A row is the body of a document.

    Each alternative is a SELECT with its own limit, joined by UNION, so that each reads at most one page of its index.
    """
    alternatives = query.any_of or ({},)
    pieces: list[str] = []
    parameters: list[Any] = []
    direction = "DESC" if query.newest_first else "ASC"
    columns = ["id", "tenant_id"]
    first = "" if query.order_by is None else f"{table.expression(query.order_by)} AS place, "
    if first:
        columns.insert(0, "place")
    order = ", ".join(f"{column} {direction}" for column in columns)
    for alternative in alternatives:
        conditions, values = _conditions(table, tenant_id, query, alternative)
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        pieces.append(f"SELECT {first}id, tenant_id, body FROM {table.sql_name}{where} ORDER BY {order} LIMIT ?")
        parameters += [*values, query.limit]
    if len(pieces) == 1:
        return f"SELECT body FROM ({pieces[0]})", parameters
    union = " UNION ".join(f"SELECT * FROM ({piece})" for piece in pieces)
    parameters.append(query.limit)
    return f"SELECT body FROM ({union} ORDER BY {order} LIMIT ?)", parameters


def _conditions(
    table: Table, tenant_id: str | None, query: Query, alternative: Mapping[str, Any]
) -> tuple[list[str], list[Any]]:
    conditions: list[str] = []
    values: list[Any] = []
    if tenant_id is not None:
        conditions.append("tenant_id = ?")
        values.append(tenant_id)
    for name, value in (*query.where.items(), *alternative.items()):
        if value is None:
            conditions.append(f"{table.expression(name)} IS NULL")
        else:
            conditions.append(f"{table.expression(name)} = ?")
            values.append(value)
    for name, (start, end) in query.ranges.items():
        for operator, bound in ((">=", start), ("<", end)):
            if bound is not None:
                conditions.append(f"{table.expression(name)} {operator} ?")
                values.append(bound)
    if query.order_by is not None:
        conditions.append(f"{table.expression(query.order_by)} IS NOT NULL")
    if query.after is not None:
        beyond = "<" if query.newest_first else ">"
        if isinstance(query.after, Place):
            assert query.order_by is not None, "a Place is of a page that is ordered by a field"
            conditions.append(f"({table.expression(query.order_by)}, id) {beyond} (?, ?)")
            values += query.after
        else:
            conditions.append(f"id {beyond} ?")
            values.append(query.after)
    return conditions, values
