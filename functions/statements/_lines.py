"""Statement lines: one for each movement of a payment account, made only from the facts of the ledger.

The id of a line is its account, time and sequence number. A period, a point in time and a page are therefore ranges of
ids, and an old balance is found as fast as the present one.
"""

from __future__ import annotations

from typing import Final

from shared.ports.documents import Query
from shared.records.statement_lines import ID_SEPARATOR

# "/" is the character after the separator "."; as the end of a range it includes all ids with the separator.
_BEYOND: Final = "/"


def place(account_id: str, recorded_at: str, sequence: int) -> str:
    """Return the id of a line. The ids of an account's lines sort as its ledger entries do, whose times never
    decrease."""
    return f"{account_id}{ID_SEPARATOR}{recorded_at}{ID_SEPARATOR}{sequence:020d}"


def in_period(account_id: str, since: str | None, until: str | None) -> Query:
    """Return the query for an account's lines from `since` (inclusive) to `until` (exclusive), oldest first."""
    start = f"{account_id}{ID_SEPARATOR}{since or ''}"
    end = f"{account_id}{ID_SEPARATOR}{until}" if until is not None else f"{account_id}{_BEYOND}"
    return Query(ranges={"id": (start, end)})


def last_up_to(account_id: str, at: str) -> Query:
    """Return the query for the last line recorded at or before a time."""
    start, end = f"{account_id}{ID_SEPARATOR}", f"{account_id}{ID_SEPARATOR}{at}{_BEYOND}"
    return Query(ranges={"id": (start, end)}, newest_first=True, limit=1)
