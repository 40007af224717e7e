"""Statement lines: one per movement of a payment account, made from the ledger's facts alone.

A line's id is its place: account, time, number. So a period, a point in time and a page are all ranges of ids, and
finding the balance of long ago costs no more than finding today's.
"""

from __future__ import annotations

from typing import Final

from shared.ports.documents import Query
from shared.records.statement_lines import ID_SEPARATOR

# "/" is the character after the separator "." and so ends a range of ids.
_BEYOND: Final = "/"


def place(account_id: str, recorded_at: str, sequence: int) -> str:
    """A line's id. The ledger's time never goes backwards along an account, so this order is the ledger's own."""
    return f"{account_id}{ID_SEPARATOR}{recorded_at}{ID_SEPARATOR}{sequence:020d}"


def in_period(account_id: str, since: str | None, until: str | None) -> Query:
    """An account's lines from `since` (inclusive) to `until` (exclusive), oldest first."""
    start = f"{account_id}{ID_SEPARATOR}{since or ''}"
    end = f"{account_id}{ID_SEPARATOR}{until}" if until is not None else f"{account_id}{_BEYOND}"
    return Query(ranges={"id": (start, end)})


def last_up_to(account_id: str, at: str) -> Query:
    """The last line recorded at or before a time."""
    start, end = f"{account_id}{ID_SEPARATOR}", f"{account_id}{ID_SEPARATOR}{at}{_BEYOND}"
    return Query(ranges={"id": (start, end)}, newest_first=True, limit=1)
